# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: capabilities {
  label: "Capabilities"
  sql_table_name: `@{project}.@{dataset}.ai_audit_capabilities` ;;

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

  dimension: capability {
    label: "Capability"
    type: string
    sql: ${TABLE}.capability ;;
  }

  dimension: first_seen_at {
    label: "First seen"
    type: date_time
    sql: ${TABLE}.first_seen_at ;;
    datatype: timestamp
    convert_tz: no
  }

  dimension: registered_silently {
    label: "From the first load"
    type: yesno
    sql: ${TABLE}.registered_silently ;;
  }

  measure: new_capabilities {
    label: "New capabilities"
    description: "Capabilities first seen in the window, by the registry. Capabilities of the first load are not counted as new."
    type: number
    sql: count(case when not registered_silently then 1 end) ;;
    value_format: "#,##0"
  }

  measure: t24_names {
    label: "Names"
    type: string
    sql: string_agg(distinct capability, ', ') ;;
  }
}
