# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: coverage {
  label: "Workspace coverage"
  sql_table_name: `@{project}.@{dataset}.ai_audit_workspace_coverage` ;;

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

  dimension: is_estimated {
    label: "Estimated"
    type: yesno
    sql: ${TABLE}.is_estimated ;;
  }

  measure: coverage_rate {
    label: "Coverage"
    type: number
    sql: max(coverage_rate) ;;
    value_format: "0.0%"
  }

  measure: covered_workspaces {
    label: "Workspaces with a record"
    type: number
    sql: max(covered_workspace_count) ;;
    value_format: "#,##0"
  }

  measure: opened_workspaces {
    label: "Opened in 14 days"
    type: number
    sql: max(active_workspace_count) ;;
    value_format: "#,##0"
  }
}
