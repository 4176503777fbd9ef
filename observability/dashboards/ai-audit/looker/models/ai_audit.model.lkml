# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

connection: "@{connection}"

label: "AI Copilot / Observability"

include: "/views/*.view.lkml"

include: "/explores/*.explore.lkml"

include: "/dashboards/*.dashboard.lookml"

week_start_day: monday
