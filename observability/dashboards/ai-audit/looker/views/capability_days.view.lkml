# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: capability_days {
  label: "Capability days"
  sql_table_name: `@{project}.@{dataset}.ai_audit_capability_stats` ;;

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
    type: number
    sql: sum(error_count) / nullif(sum(success_count) + sum(error_count), 0) ;;
    value_format: "0.0%"
  }
}
