# Made from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; change those, not this file.

view: latency {
  label: "Latency"
  derived_table: {
    sql:
      with buckets as (
        select upper_ms, sum(interaction_count) as n
        from `@{project}.@{dataset}.ai_audit_latency_histogram`
        where date between coalesce(date(cast({% date_start latency.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end latency.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end latency.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) and {% condition latency.capability_filter %} capability {% endcondition %} and {% condition latency.provider_filter %} provider {% endcondition %}
        group by upper_ms
      ),
      ranked as (
        select upper_ms, sum(n) over (order by upper_ms) as up_to, sum(n) over () as total
        from buckets
      )
      select min(case when up_to >= 0.95 * total then upper_ms end) as p95
      from ranked
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

  dimension: p95 {
    label: "P95"
    type: number
    sql: ${TABLE}.p95 ;;
    value_format: "#,##0\" ms\""
  }
}
