# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.
# connection: The name of the BigQuery connection in Looker.
# project: The BigQuery project.
# dataset: The BigQuery dataset with the tables.
# app_url: The URL of the application, for links to workspaces.
# dashboards_url: The URL of the built-in dashboards, for links to raw records.

project_name: "ai_audit"

constant: connection {
  value: "mad-vibe-prod.analytics"
  export: override_optional
}

constant: project {
  value: "mad-vibe-prod"
  export: override_optional
}

constant: dataset {
  value: "analytics"
  export: override_optional
}

constant: app_url {
  value: "https://app.example.com"
  export: override_optional
}

constant: dashboards_url {
  value: "http://localhost:8050"
  export: override_optional
}
