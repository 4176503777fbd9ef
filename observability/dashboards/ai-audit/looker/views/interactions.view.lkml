# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: interactions {
  label: "Interactions"
  sql_table_name: `@{project}.@{dataset}.stg_ai_audit_logs` ;;

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
      label: "its last 24h"
      value: "h24"
    }
    allowed_value: {
      label: "its last 7d"
      value: "d7"
    }
    allowed_value: {
      label: "the whole range"
      value: "range"
    }
  }

  dimension: created_at {
    label: "Time"
    type: date_time
    sql: ${TABLE}.created_at ;;
    datatype: timestamp
    convert_tz: no
  }

  dimension: id {
    label: "Record"
    type: string
    sql: ${TABLE}.id ;;
  }

  dimension: workspace_id {
    label: "Workspace"
    type: string
    sql: ${TABLE}.workspace_id ;;
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

  dimension: model {
    label: "Model"
    type: string
    sql: ${TABLE}.model ;;
  }

  dimension: status {
    label: "Status"
    type: string
    sql: ${TABLE}.status ;;
  }

  dimension: status_class {
    label: "Outcome"
    type: string
    sql: ${TABLE}.status_class ;;
  }

  dimension: duration_ms {
    label: "Duration"
    type: number
    sql: ${TABLE}.duration_ms ;;
    value_format: "#,##0\" ms\""
  }

  dimension: prompt_length {
    label: "Prompt length"
    type: number
    sql: ${TABLE}.prompt_length ;;
    value_format: "#,##0"
  }

  dimension: prompt_tokens {
    label: "Prompt tokens"
    type: number
    sql: ${TABLE}.prompt_tokens ;;
    value_format: "#,##0"
  }

  dimension: completion_tokens {
    label: "Completion tokens"
    type: number
    sql: ${TABLE}.completion_tokens ;;
    value_format: "#,##0"
  }

  dimension: completion_id {
    label: "Completion"
    type: string
    sql: ${TABLE}.completion_id ;;
  }

  dimension: t36_rows {
    description: "Rows counted by T36 “Tokens by model (7d)”."
    hidden: yes
    type: yesno
    sql: model is not null ;;
  }

  dimension: t33_rows {
    description: "Rows counted by T33 “Prompt length and duration (24h)”."
    hidden: yes
    type: yesno
    sql: prompt_length > 0 and duration_ms > 0 ;;
  }

  measure: interactions {
    label: "Interactions"
    type: number
    sql: count(*) ;;
    value_format: "#,##0"
  }

  measure: unknown {
    label: "Unknown outcome"
    type: number
    sql: count(case when status_class = 'unknown' then 1 end) ;;
    value_format: "#,##0"
  }

  measure: error_rate {
    label: "Error rate"
    description: "Errors per success or error. An unknown outcome is neither."
    type: number
    sql: count(case when status_class = 'error' then 1 end) / nullif(count(case when status_class in ('success', 'error') then 1 end), 0) ;;
    value_format: "0.0%"
  }

  measure: literal_error_rate {
    label: "Not “success”"
    description: "The playbook's literal definition. Every status other than `success` counts as an error, including a missing one."
    type: number
    sql: count(case when coalesce(status, '') != 'success' then 1 end) / nullif(count(*), 0) ;;
    value_format: "0.0%"
  }

  measure: p95_latency {
    label: "P95 latency"
    description: "The latency that 95 % of interactions do not exceed. It is an observed value, the ceil(0.95 n)-th of n."
    type: number
    sql: array_agg(duration_ms ignore nulls order by duration_ms)[ safe_offset(cast(ceil(0.95 * count(duration_ms)) as int64) - 1)] ;;
    value_format: "#,##0\" ms\""
  }

  measure: prompt_tokens_sum {
    label: "Prompt tokens"
    type: number
    sql: sum(prompt_tokens) ;;
    value_format: "#,##0"
  }

  measure: completion_tokens_sum {
    label: "Completion tokens"
    type: number
    sql: sum(completion_tokens) ;;
    value_format: "#,##0"
  }

  measure: duration_ms_figure {
    label: "Duration"
    type: max
    sql: ${TABLE}.duration_ms ;;
    value_format: "#,##0\" ms\""
  }
}
