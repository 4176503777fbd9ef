"""Alert rules: loading the YAML files and evaluating rules against facts; pure."""
