# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: daily {
  label: "Days by capability and provider"
  sql_table_name: `@{project}.@{dataset}.ai_audit_daily` ;;

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

  measure: errors {
    label: "Error"
    type: number
    sql: sum(error_count) ;;
    value_format: "#,##0"
  }

  measure: unknown {
    label: "Unknown"
    type: number
    sql: sum(unknown_count) ;;
    value_format: "#,##0"
  }

  measure: error_rate {
    label: "Error rate"
    description: "Errors per success or error. An unknown outcome is neither."
    type: number
    sql: sum(error_count) / nullif(sum(success_count) + sum(error_count), 0) ;;
    value_format: "0.0%"
  }

  measure: max_latency {
    label: "Longest"
    type: number
    sql: max(max_latency_ms) ;;
    value_format: "#,##0\" ms\""
  }
}
