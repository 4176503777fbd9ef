# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: syncs {
  label: "Syncs"
  derived_table: {
    sql:
      select
        builds.table_name,
        coalesce(syncs.last_synced_at, builds.built_at) as last_synced_at
      from `@{project}.@{dataset}.ai_audit_model_builds` as builds
      left join `@{project}.@{dataset}.ai_audit_sync_state` as syncs on builds.sync_id = syncs.sync_id
      where true
    ;;
  }

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
      label: "its last all"
      value: "all"
    }
    allowed_value: {
      label: "the whole range"
      value: "range"
    }
  }

  dimension: table_name {
    label: "Table"
    type: string
    sql: ${TABLE}.table_name ;;
  }

  dimension: last_synced_at {
    label: "Synced"
    type: date_time
    sql: ${TABLE}.last_synced_at ;;
    datatype: timestamp
    convert_tz: no
  }

  measure: newest {
    label: "Last synced"
    type: string
    sql: cast(min(last_synced_at) as string) ;;
  }

  measure: newest_age {
    label: "Last synced, seconds ago"
    type: number
    sql: timestamp_diff(current_timestamp(), min(last_synced_at), second) ;;
    value_format: "#,##0\" s\""
  }
}
