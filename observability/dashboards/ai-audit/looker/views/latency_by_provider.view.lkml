# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: latency_by_provider {
  label: "Latency by provider"
  derived_table: {
    sql:
      with buckets as (
        select provider, upper_ms, sum(interaction_count) as n
        from `@{project}.@{dataset}.ai_audit_latency_histogram`
        where date between coalesce(date(cast({% date_start latency_by_provider.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end latency_by_provider.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end latency_by_provider.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) and {% condition latency_by_provider.capability_filter %} capability {% endcondition %} and {% condition latency_by_provider.provider_filter %} provider {% endcondition %} and not is_stub
        group by provider, upper_ms
      ),
      ranked as (
        select
          provider,
          upper_ms,
          n,
          sum(n) over (partition by provider order by upper_ms) as up_to,
          sum(n) over (partition by provider) as total
        from buckets
      )
      select
        provider,
        min(case when up_to >= 0.05 * total then upper_ms end) as p5,
        min(case when up_to >= 0.25 * total then upper_ms end) as p25,
        min(case when up_to >= 0.5 * total then upper_ms end) as p50,
        min(case when up_to >= 0.75 * total then upper_ms end) as p75,
        min(case when up_to >= 0.95 * total then upper_ms end) as p95,
        sum(n) as interactions
      from ranked
      group by provider
    ;;
  }

  filter: range {
    label: "Time range"
    type: date
    convert_tz: no
  }

  filter: capability_filter {
    label: "Capability (filter)"
    type: string
    suggest_explore: interactions
    suggest_dimension: interactions.capability
  }

  filter: provider_filter {
    label: "Provider (filter)"
    type: string
    suggest_explore: interactions
    suggest_dimension: interactions.provider
  }

  dimension: provider {
    label: "Provider"
    type: string
    sql: ${TABLE}.provider ;;
  }

  dimension: p5 {
    label: "P5"
    type: number
    sql: ${TABLE}.p5 ;;
    value_format: "#,##0\" ms\""
  }

  dimension: p25 {
    label: "P25"
    type: number
    sql: ${TABLE}.p25 ;;
    value_format: "#,##0\" ms\""
  }

  dimension: p50 {
    label: "Median"
    type: number
    sql: ${TABLE}.p50 ;;
    value_format: "#,##0\" ms\""
  }

  dimension: p75 {
    label: "P75"
    type: number
    sql: ${TABLE}.p75 ;;
    value_format: "#,##0\" ms\""
  }

  dimension: p95 {
    label: "P95"
    type: number
    sql: ${TABLE}.p95 ;;
    value_format: "#,##0\" ms\""
  }

  dimension: interactions {
    label: "Interactions"
    type: number
    sql: ${TABLE}.interactions ;;
    value_format: "#,##0"
  }

  measure: p5_figure {
    label: "P5"
    type: max
    sql: ${TABLE}.p5 ;;
    value_format: "#,##0\" ms\""
  }

  measure: p25_figure {
    label: "P25"
    type: max
    sql: ${TABLE}.p25 ;;
    value_format: "#,##0\" ms\""
  }

  measure: p50_figure {
    label: "Median"
    type: max
    sql: ${TABLE}.p50 ;;
    value_format: "#,##0\" ms\""
  }

  measure: p75_figure {
    label: "P75"
    type: max
    sql: ${TABLE}.p75 ;;
    value_format: "#,##0\" ms\""
  }

  measure: p95_figure {
    label: "P95"
    type: max
    sql: ${TABLE}.p95 ;;
    value_format: "#,##0\" ms\""
  }
}
