# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: provider_days {
  label: "Days by provider"
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
}
