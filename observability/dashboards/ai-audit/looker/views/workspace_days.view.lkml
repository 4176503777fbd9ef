# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: workspace_days {
  label: "Workspace days"
  sql_table_name: `@{project}.@{dataset}.ai_audit_workspace_counts` ;;

  filter: range {
    label: "Time range"
    type: date
    convert_tz: no
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

  measure: interactions {
    label: "Interactions"
    type: number
    sql: sum(interaction_count) ;;
    value_format: "#,##0"
  }

  measure: error_rate {
    label: "Error rate"
    type: number
    sql: sum(error_count) / nullif(sum(success_count) + sum(error_count), 0) ;;
    value_format: "0.0%"
  }
}
