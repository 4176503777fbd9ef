# Made from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; change those, not this file.
# connection: The name of Looker's connection to BigQuery.
# project: The project of BigQuery.
# dataset: The dataset that holds the tables.
# app_url: Where the application is: links to workspaces lead there.
# dashboards_url: Where the built-in dashboards are: links to raw records lead there.

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
