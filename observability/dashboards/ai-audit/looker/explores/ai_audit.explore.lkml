# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

explore: interactions {
  label: "Interactions"
  description: "One row per interaction without prompt or response, excluding drills and stub."
  group_label: "AI Copilot / Observability"
  sql_always_where: environment = 'live' and not is_stub and {% if interactions.window._parameter_value == 'h24' %}created_at >= timestamp_sub(least(current_timestamp(), timestamp(date_add(coalesce(date(timestamp_sub(cast({% date_end interactions.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 1 day))), interval 24 hour) and created_at < least(current_timestamp(), timestamp(date_add(coalesce(date(timestamp_sub(cast({% date_end interactions.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 1 day))){% elsif interactions.window._parameter_value == 'd7' %}created_at >= timestamp(date_sub(coalesce(date(timestamp_sub(cast({% date_end interactions.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and created_at < timestamp(date_add(coalesce(date(timestamp_sub(cast({% date_end interactions.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 1 day)){% else %}created_at >= timestamp(coalesce(date(cast({% date_start interactions.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end interactions.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day))) and created_at < timestamp(date_add(coalesce(date(timestamp_sub(cast({% date_end interactions.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 1 day)){% endif %} ;;
  always_filter: {
    filters: [interactions.range: "7 days"]
  }
}

explore: provider_days {
  label: "Days by provider"
  description: "Counts per UTC day, capability and provider, including stub."
  group_label: "AI Copilot / Observability"
  sql_always_where: date between coalesce(date(cast({% date_start provider_days.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end provider_days.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end provider_days.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) ;;
  always_filter: {
    filters: [provider_days.range: "7 days"]
  }
}

explore: daily {
  label: "Days by capability and provider"
  description: "Counts per UTC day, capability and provider, excluding stub."
  group_label: "AI Copilot / Observability"
  sql_always_where: not is_stub and date between coalesce(date(cast({% date_start daily.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end daily.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end daily.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) ;;
  always_filter: {
    filters: [daily.range: "7 days"]
  }
}

explore: workspace_counts {
  label: "Days by workspace"
  description: "Counts per UTC day, workspace, capability and provider, excluding stub. Distinct workspaces are counted from it."
  group_label: "AI Copilot / Observability"
  sql_always_where: not is_stub and {% if workspace_counts.window._parameter_value == 'd7' %}date between date_sub(coalesce(date(timestamp_sub(cast({% date_end workspace_counts.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day) and coalesce(date(timestamp_sub(cast({% date_end workspace_counts.range %} as timestamp), interval 1 microsecond)), current_date('UTC')){% else %}date between coalesce(date(cast({% date_start workspace_counts.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end workspace_counts.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end workspace_counts.range %} as timestamp), interval 1 microsecond)), current_date('UTC')){% endif %} ;;
  always_filter: {
    filters: [workspace_counts.range: "7 days"]
  }
}

explore: error_funnel {
  label: "Error funnel"
  description: "Five disjoint classes of interactions, excluding stub. They add up to the total."
  group_label: "AI Copilot / Observability"
  sql_always_where: not is_stub and date between coalesce(date(cast({% date_start error_funnel.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end error_funnel.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end error_funnel.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) ;;
  always_filter: {
    filters: [error_funnel.range: "7 days"]
  }
}

explore: latency_by_provider {
  label: "Latency by provider"
  description: "Latency quantiles from the histogram of events, excluding stub, accurate to 2 %."
  group_label: "AI Copilot / Observability"
  always_filter: {
    filters: [latency_by_provider.range: "7 days"]
  }
}

explore: latency_by_capability {
  label: "Latency by capability"
  description: "Latency quantiles from the histogram of events, excluding stub, accurate to 2 %."
  group_label: "AI Copilot / Observability"
  always_filter: {
    filters: [latency_by_capability.range: "7 days"]
  }
}

explore: latency_by_day {
  label: "Latency by day"
  description: "Latency quantiles per UTC day from the histogram of events, excluding stub, accurate to 2 %. The longest latency is an observed value."
  group_label: "AI Copilot / Observability"
  always_filter: {
    filters: [latency_by_day.range: "7 days"]
  }
}

explore: workspaces {
  label: "Workspaces"
  description: "One row per workspace that is known to the application or has interactions in the range, excluding stub. Inactive workspaces are included."
  group_label: "AI Copilot / Observability"
  always_filter: {
    filters: [workspaces.range: "7 days"]
  }
}

explore: workspace_days {
  label: "Workspace days"
  description: "Counts per UTC day and workspace, excluding stub."
  group_label: "AI Copilot / Observability"
  sql_always_where: not is_unassigned and not is_stub and date between coalesce(date(cast({% date_start workspace_days.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end workspace_days.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end workspace_days.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) ;;
  always_filter: {
    filters: [workspace_days.range: "7 days"]
  }
}

explore: coverage {
  label: "Workspace coverage"
  description: "Share of the workspaces opened in the 14 days up to each day that have at least one record in that time, as of when the day was captured. Days captured later are estimated."
  group_label: "AI Copilot / Observability"
  sql_always_where: date between coalesce(date(cast({% date_start coverage.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end coverage.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end coverage.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) ;;
  always_filter: {
    filters: [coverage.range: "7 days"]
  }
}

explore: capability_days {
  label: "Capability days"
  description: "One row per UTC day and capability, with zero on days without interactions, excluding stub."
  group_label: "AI Copilot / Observability"
  sql_always_where: date between coalesce(date(cast({% date_start capability_days.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end capability_days.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end capability_days.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) ;;
  always_filter: {
    filters: [capability_days.range: "7 days"]
  }
}

explore: anomalies {
  label: "Capability anomalies"
  description: "Each UTC day of a capability compared with the preceding days, excluding stub."
  group_label: "AI Copilot / Observability"
  sql_always_where: {% if anomalies.window._parameter_value == 'd14' %}date between date_sub(coalesce(date(timestamp_sub(cast({% date_end anomalies.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 13 day) and coalesce(date(timestamp_sub(cast({% date_end anomalies.range %} as timestamp), interval 1 microsecond)), current_date('UTC')){% elsif anomalies.window._parameter_value == 'd2' %}date between date_sub(coalesce(date(timestamp_sub(cast({% date_end anomalies.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 1 day) and coalesce(date(timestamp_sub(cast({% date_end anomalies.range %} as timestamp), interval 1 microsecond)), current_date('UTC')){% else %}date between coalesce(date(cast({% date_start anomalies.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end anomalies.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end anomalies.range %} as timestamp), interval 1 microsecond)), current_date('UTC')){% endif %} ;;
  always_filter: {
    filters: [anomalies.range: "7 days"]
  }
}

explore: volume {
  label: "Volume and expected range"
  description: "Interactions per UTC day of the selected capabilities, with the mean of the preceding 7 days and a band of two standard deviations. The current day is never flagged as low."
  group_label: "AI Copilot / Observability"
  always_filter: {
    filters: [volume.range: "7 days"]
  }
}

explore: capabilities {
  label: "Capabilities"
  description: "Every capability ever seen on a provider other than stub, with the time it was first seen."
  group_label: "AI Copilot / Observability"
  sql_always_where: environment = 'live' and capability != 'unknown' and {% if capabilities.window._parameter_value == 'd7' %}first_seen_at >= timestamp(date_sub(coalesce(date(timestamp_sub(cast({% date_end capabilities.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and first_seen_at < timestamp(date_add(coalesce(date(timestamp_sub(cast({% date_end capabilities.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 1 day)){% else %}first_seen_at >= timestamp(coalesce(date(cast({% date_start capabilities.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end capabilities.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day))) and first_seen_at < timestamp(date_add(coalesce(date(timestamp_sub(cast({% date_end capabilities.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 1 day)){% endif %} ;;
  always_filter: {
    filters: [capabilities.range: "7 days"]
  }
}

explore: incidents {
  label: "Incidents"
  description: "Alerts of the ledger, with the interactions of their capability on their days, excluding stub."
  group_label: "AI Copilot / Observability"
  always_filter: {
    filters: [incidents.range: "7 days"]
  }
}

explore: syncs {
  label: "Syncs"
  description: "The model tables, each with the end time of the newest sync whose rows it contains."
  group_label: "AI Copilot / Observability"
  always_filter: {
    filters: [syncs.range: "7 days"]
  }
}
