"""The Dagster shell: resources, assets, checks, schedules and sensors. Other code does not import dagster."""

import warnings

# dagster-dbt requires sqlglot's deprecated `rs` extra; the warning has no effect on speed here.
warnings.filterwarnings("ignore", message=r"sqlglot\[rs\] is deprecated")
