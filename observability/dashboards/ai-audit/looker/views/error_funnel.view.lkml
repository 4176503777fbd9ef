# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: error_funnel {
  label: "Error funnel"
  sql_table_name: `@{project}.@{dataset}.ai_audit_error_funnel` ;;

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

  measure: successes {
    label: "Success"
    type: number
    sql: sum(success_count) ;;
    value_format: "#,##0"
  }

  measure: errors_by_status {
    label: "Error by status"
    type: number
    sql: sum(error_by_status_only_count) ;;
    value_format: "#,##0"
  }

  measure: errors_by_flag {
    label: "Error by flag"
    type: number
    sql: sum(error_by_flag_only_count) ;;
    value_format: "#,##0"
  }

  measure: errors_by_both {
    label: "Error by both"
    type: number
    sql: sum(error_by_both_count) ;;
    value_format: "#,##0"
  }

  measure: unknown {
    label: "Unknown"
    type: number
    sql: sum(unknown_count) ;;
    value_format: "#,##0"
  }
}
