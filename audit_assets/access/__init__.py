"""Access as code: YAML files say who may read what, and become grants, row policies and policy tags."""
