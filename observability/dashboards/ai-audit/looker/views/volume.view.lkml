# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: volume {
  label: "Volume and expected range"
  derived_table: {
    sql:
      with totals as (
        select date, sum(interaction_count) as interactions
        from `@{project}.@{dataset}.ai_audit_capability_stats`
        where {% condition volume.capability_filter %} capability {% endcondition %} and date >= date_sub(coalesce(date(cast({% date_start volume.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end volume.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)), interval 14 day) and date <= coalesce(date(timestamp_sub(cast({% date_end volume.range %} as timestamp), interval 1 microsecond)), current_date('UTC'))
        group by date
      ),
      windows as (
        select
          date,
          interactions,
          count(*) over week as days_before,
          avg(interactions) over week as mean_7d,
          stddev_samp(interactions) over week as stddev_7d
        from totals
        window week as (order by date rows between 7 preceding and 1 preceding)
      )
      select
        date,
        interactions,
        case when days_before = 7 then mean_7d end as mean_7d,
        case when days_before = 7 then greatest(mean_7d - 2 * stddev_7d, 0) end as low,
        case when days_before = 7 then mean_7d + 2 * stddev_7d end as high,
        coalesce(
          days_before = 7
          and abs(interactions - mean_7d) > 2 * stddev_7d
          and (interactions > mean_7d or date < cast(current_timestamp() as date)),
          false
        ) as is_flagged
      from windows
      where date >= coalesce(date(cast({% date_start volume.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end volume.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day))
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

  dimension: date {
    label: "Day"
    type: date
    sql: ${TABLE}.date ;;
    datatype: date
    convert_tz: no
  }

  dimension: interactions {
    label: "Interactions"
    type: number
    sql: ${TABLE}.interactions ;;
    value_format: "#,##0"
  }

  dimension: mean_7d {
    label: "Mean of 7 days"
    type: number
    sql: ${TABLE}.mean_7d ;;
    value_format: "#,##0"
  }

  dimension: low {
    label: "Two standard deviations below"
    type: number
    sql: ${TABLE}.low ;;
    value_format: "#,##0"
  }

  dimension: high {
    label: "Two standard deviations above"
    type: number
    sql: ${TABLE}.high ;;
    value_format: "#,##0"
  }

  dimension: is_flagged {
    label: "Outside two standard deviations"
    type: yesno
    sql: ${TABLE}.is_flagged ;;
  }

  measure: interactions_figure {
    label: "Interactions"
    type: max
    sql: ${TABLE}.interactions ;;
    value_format: "#,##0"
  }

  measure: mean_7d_figure {
    label: "Mean of 7 days"
    type: max
    sql: ${TABLE}.mean_7d ;;
    value_format: "#,##0"
  }

  measure: low_figure {
    label: "Two standard deviations below"
    type: max
    sql: ${TABLE}.low ;;
    value_format: "#,##0"
  }

  measure: high_figure {
    label: "Two standard deviations above"
    type: max
    sql: ${TABLE}.high ;;
    value_format: "#,##0"
  }

  measure: is_flagged_figure {
    label: "Outside two standard deviations"
    type: max
    sql: case when ${TABLE}.is_flagged then 1 else 0 end ;;
    value_format: "0"
  }
}
