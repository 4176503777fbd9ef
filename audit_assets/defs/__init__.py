"""The Dagster shell: resources, assets, checks, schedules and sensors; the only code that imports dagster."""
