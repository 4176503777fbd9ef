# Made from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; change those, not this file.

view: syncs {
  label: "Syncs"
  sql_table_name: `@{project}.@{dataset}.ai_audit_sync_state` ;;

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
    sql: cast(max(last_synced_at) as string) ;;
  }

  measure: newest_age {
    label: "Last synced, seconds ago"
    type: number
    sql: timestamp_diff(current_timestamp(), max(last_synced_at), second) ;;
    value_format: "#,##0\" s\""
  }
}
