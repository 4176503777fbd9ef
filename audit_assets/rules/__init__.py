"""Alert rules: YAML to values, and judging facts against them; pure."""
