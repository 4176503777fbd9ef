"""The Dagster shell: resources, assets, checks, schedules and sensors; the only code that imports dagster."""

import warnings

# dagster-dbt asks for sqlglot's old speed-up beside the new one; nothing here is slower for it.
warnings.filterwarnings("ignore", message=r"sqlglot\[rs\] is deprecated")
