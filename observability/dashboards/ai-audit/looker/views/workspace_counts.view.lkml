# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: workspace_counts {
  label: "Days by workspace"
  sql_table_name: `@{project}.@{dataset}.ai_audit_workspace_counts` ;;

  filter: range {
    label: "Time range"
    type: date
    convert_tz: no
  }

  parameter: window {
    label: "Window"
    description: "The part of the time range that is counted, up to its end."
    type: unquoted
    default_value: "range"
    allowed_value: {
      label: "its last 7d"
      value: "d7"
    }
    allowed_value: {
      label: "the whole range"
      value: "range"
    }
  }

  dimension: date {
    label: "Day"
    type: date
    sql: ${TABLE}.date ;;
    datatype: date
    convert_tz: no
  }

  dimension: workspace_id {
    label: "Workspace"
    type: string
    sql: ${TABLE}.workspace_id ;;
  }

  dimension: capability {
    label: "Capability"
    type: string
    sql: ${TABLE}.capability ;;
  }

  dimension: provider {
    label: "Provider"
    type: string
    sql: ${TABLE}.provider ;;
  }

  measure: interactions {
    label: "Interactions"
    type: number
    sql: sum(interaction_count) ;;
    value_format: "#,##0"
  }

  measure: active_workspaces {
    label: "Active workspaces"
    description: "Distinct workspaces over the whole range. It is not the sum of the daily counts."
    type: number
    sql: count(distinct case when not is_unassigned then workspace_id end) ;;
    value_format: "#,##0"
  }

  measure: error_rate {
    label: "Error rate"
    type: number
    sql: sum(error_count) / nullif(sum(success_count) + sum(error_count), 0) ;;
    value_format: "0.0%"
  }
}
