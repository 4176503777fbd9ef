# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: anomalies {
  label: "Capability anomalies"
  sql_table_name: `@{project}.@{dataset}.ai_audit_capability_anomalies` ;;

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
      label: "its last 14d"
      value: "d14"
    }
    allowed_value: {
      label: "its last 2d"
      value: "d2"
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

  dimension: capability {
    label: "Capability"
    type: string
    sql: ${TABLE}.capability ;;
    link: {
      label: "Raw logs"
      url: "@{dashboards_url}/audit-log?capability={{ anomalies.capability._value | url_encode }}&from={{ anomalies.date._value | url_encode }}&to={{ anomalies.date._value | url_encode }}"
    }
  }

  dimension: interaction_count {
    label: "Interactions"
    type: number
    sql: ${TABLE}.interaction_count ;;
    value_format: "#,##0"
  }

  dimension: median_7d {
    label: "Median of 7 days"
    type: number
    sql: ${TABLE}.median_7d ;;
    value_format: "#,##0"
  }

  dimension: mean_7d {
    label: "Mean of 7 days"
    type: number
    sql: ${TABLE}.mean_7d ;;
    value_format: "#,##0"
  }

  dimension: stddev_7d {
    label: "Standard deviation of 7 days"
    type: number
    sql: ${TABLE}.stddev_7d ;;
    value_format: "#,##0"
  }

  dimension: z_score {
    label: "Z-score"
    type: number
    sql: ${TABLE}.z_score ;;
    value_format: "0.00"
  }

  dimension: deviation_percent {
    label: "Change from the median"
    type: number
    sql: ${TABLE}.deviation_percent ;;
    value_format: "0.0\"%\""
  }

  dimension: deviation_state {
    label: "State"
    type: string
    sql: ${TABLE}.deviation_state ;;
  }

  dimension: severity {
    label: "Severity"
    type: string
    sql: ${TABLE}.severity ;;
  }

  dimension: evaluation_status {
    label: "Evaluation"
    type: string
    sql: ${TABLE}.evaluation_status ;;
  }

  dimension: reason {
    label: "Reason"
    type: string
    sql: ${TABLE}.reason ;;
  }

  dimension: t27_rows {
    description: "Rows counted by T27 “Anomalies by severity”."
    hidden: yes
    type: yesno
    sql: severity is not null ;;
  }

  measure: days {
    label: "Days"
    type: number
    sql: count(*) ;;
    value_format: "#,##0"
  }

  measure: spikes {
    label: "Spikes"
    type: number
    sql: count(case when deviation_state = 'spike' then 1 end) ;;
    value_format: "#,##0"
  }

  measure: drops {
    label: "Drops"
    type: number
    sql: count(case when deviation_state = 'drop' then 1 end) ;;
    value_format: "#,##0"
  }

  measure: t25_names {
    label: "Names"
    type: string
    sql: string_agg(distinct case when deviation_state = 'spike' then capability end, ', ') ;;
  }

  measure: t26_names {
    label: "Names"
    type: string
    sql: string_agg(distinct case when deviation_state = 'drop' then capability end, ', ') ;;
  }
}
