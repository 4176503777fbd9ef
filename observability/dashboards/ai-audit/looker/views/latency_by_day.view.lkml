# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: latency_by_day {
  label: "Latency by day"
  derived_table: {
    sql:
      with buckets as (
        select date, upper_ms, sum(interaction_count) as n
        from `@{project}.@{dataset}.ai_audit_latency_histogram`
        where date between coalesce(date(cast({% date_start latency_by_day.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end latency_by_day.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end latency_by_day.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) and {% condition latency_by_day.capability_filter %} capability {% endcondition %} and {% condition latency_by_day.provider_filter %} provider {% endcondition %} and not is_stub
        group by date, upper_ms
      ),
      ranked as (
        select
          date,
          upper_ms,
          sum(n) over (partition by date order by upper_ms) as up_to,
          sum(n) over (partition by date) as total
        from buckets
      ),
      quantiles as (
        select
          date,
          min(case when up_to >= 0.5 * total then upper_ms end) as p50,
          min(case when up_to >= 0.9 * total then upper_ms end) as p90,
          min(case when up_to >= 0.95 * total then upper_ms end) as p95,
          min(case when up_to >= 0.99 * total then upper_ms end) as p99
        from ranked
        group by date
      ),
      longest as (
        select date, max(max_latency_ms) as longest
        from `@{project}.@{dataset}.ai_audit_daily`
        where date between coalesce(date(cast({% date_start latency_by_day.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end latency_by_day.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end latency_by_day.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) and {% condition latency_by_day.capability_filter %} capability {% endcondition %} and {% condition latency_by_day.provider_filter %} provider {% endcondition %} and not is_stub
        group by date
      )
      select quantiles.date, p50, p90, p95, p99, longest.longest
      from quantiles
      left join longest on quantiles.date = longest.date
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

  dimension: date {
    label: "Day"
    type: date
    sql: ${TABLE}.date ;;
    datatype: date
    convert_tz: no
  }

  dimension: p50 {
    label: "P50"
    type: number
    sql: ${TABLE}.p50 ;;
    value_format: "#,##0\" ms\""
  }

  dimension: p90 {
    label: "P90"
    type: number
    sql: ${TABLE}.p90 ;;
    value_format: "#,##0\" ms\""
  }

  dimension: p95 {
    label: "P95"
    type: number
    sql: ${TABLE}.p95 ;;
    value_format: "#,##0\" ms\""
  }

  dimension: p99 {
    label: "P99"
    type: number
    sql: ${TABLE}.p99 ;;
    value_format: "#,##0\" ms\""
  }

  dimension: longest {
    label: "Longest"
    type: number
    sql: ${TABLE}.longest ;;
    value_format: "#,##0\" ms\""
  }

  measure: p95_figure {
    label: "P95"
    type: max
    sql: ${TABLE}.p95 ;;
    value_format: "#,##0\" ms\""
  }

  measure: longest_figure {
    label: "Longest"
    type: max
    sql: ${TABLE}.longest ;;
    value_format: "#,##0\" ms\""
  }

  measure: p50_figure {
    label: "P50"
    type: max
    sql: ${TABLE}.p50 ;;
    value_format: "#,##0\" ms\""
  }

  measure: p90_figure {
    label: "P90"
    type: max
    sql: ${TABLE}.p90 ;;
    value_format: "#,##0\" ms\""
  }

  measure: p99_figure {
    label: "P99"
    type: max
    sql: ${TABLE}.p99 ;;
    value_format: "#,##0\" ms\""
  }
}
