"""Reading YAML files: values with their lines, validation messages, durations."""
