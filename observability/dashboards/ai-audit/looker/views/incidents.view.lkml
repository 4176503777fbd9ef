# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: incidents {
  label: "Incidents"
  derived_table: {
    sql:
      with episodes as (
        select
          key,
          rule_id,
          coalesce(nullif(json_value(dimensions, '$.capability'), ''), 'all capabilities') as capability,
          nullif(json_value(dimensions, '$.capability'), '') is null as is_total,
          state,
          severity,
          since,
          opened_at,
          resolved_at,
          acknowledged_by,
          value,
          baseline,
          delta_percent
        from `@{project}.@{dataset}.ai_audit_alerts`
        where environment = 'live'
      ),
      counts as (
        select
          date,
          capability,
          interaction_count,
          error_count,
          case when not is_unassigned then workspace_id end as workspace_id
        from `@{project}.@{dataset}.ai_audit_workspace_counts`
        where
          not is_stub
          and date between coalesce(date(cast({% date_start incidents.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end incidents.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)) and coalesce(date(timestamp_sub(cast({% date_end incidents.range %} as timestamp), interval 1 microsecond)), current_date('UTC'))
          and date >= (select min(cast(since as date)) from episodes)
      ),
      calls_meanwhile as (
        select
          episodes.key,
          counts.interaction_count,
          counts.error_count,
          counts.workspace_id
        from episodes
        inner join counts
          on
            episodes.capability = counts.capability
            and counts.date between cast(episodes.since as date) and cast(coalesce(episodes.resolved_at, current_timestamp()) as date)
        where not episodes.is_total
        union all
        select
          episodes.key,
          counts.interaction_count,
          counts.error_count,
          counts.workspace_id
        from episodes
        inner join counts
          on counts.date between cast(episodes.since as date) and cast(coalesce(episodes.resolved_at, current_timestamp()) as date)
        where episodes.is_total
      ),
      touched as (
        select
          key,
          sum(interaction_count) as interactions,
          sum(error_count) as errors,
          count(distinct workspace_id) as workspaces
        from calls_meanwhile
        group by key
      )
      select
        episodes.*,
        coalesce(touched.interactions, 0) as interactions,
        coalesce(touched.errors, 0) as errors,
        coalesce(touched.workspaces, 0) as workspaces
      from episodes
      left join touched on episodes.key = touched.key
      where cast(episodes.since as date) <= coalesce(date(timestamp_sub(cast({% date_end incidents.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) and cast(coalesce(episodes.resolved_at, current_timestamp()) as date) >= coalesce(date(cast({% date_start incidents.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end incidents.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day))
    ;;
  }

  filter: range {
    label: "Time range"
    type: date
    convert_tz: no
  }

  dimension: key {
    label: "Alert"
    type: string
    sql: ${TABLE}.key ;;
  }

  dimension: rule_id {
    label: "Rule"
    type: string
    sql: ${TABLE}.rule_id ;;
  }

  dimension: capability {
    label: "Capability"
    type: string
    sql: ${TABLE}.capability ;;
    link: {
      label: "Raw records"
      url: "@{dashboards_url}/audit-log?capability={{ incidents.capability._value | url_encode }}"
    }
  }

  dimension: is_total {
    label: "All capabilities"
    type: yesno
    sql: ${TABLE}.is_total ;;
  }

  dimension: state {
    label: "State"
    type: string
    sql: ${TABLE}.state ;;
  }

  dimension: severity {
    label: "Severity"
    type: string
    sql: ${TABLE}.severity ;;
  }

  dimension: since {
    label: "Since"
    type: date_time
    sql: ${TABLE}.since ;;
    datatype: timestamp
    convert_tz: no
  }

  dimension: opened_at {
    label: "Opened"
    type: date_time
    sql: ${TABLE}.opened_at ;;
    datatype: timestamp
    convert_tz: no
  }

  dimension: resolved_at {
    label: "Resolved"
    type: date_time
    sql: ${TABLE}.resolved_at ;;
    datatype: timestamp
    convert_tz: no
  }

  dimension: acknowledged_by {
    label: "Acknowledged by"
    type: string
    sql: ${TABLE}.acknowledged_by ;;
  }

  dimension: value {
    label: "Value"
    type: number
    sql: ${TABLE}.value ;;
    value_format: "0.00"
  }

  dimension: baseline {
    label: "Baseline"
    type: number
    sql: ${TABLE}.baseline ;;
    value_format: "0.00"
  }

  dimension: delta_percent {
    label: "Delta"
    type: number
    sql: ${TABLE}.delta_percent ;;
    value_format: "0.0\"%\""
  }

  dimension: interactions {
    label: "Interactions"
    type: number
    sql: ${TABLE}.interactions ;;
    value_format: "#,##0"
  }

  dimension: errors {
    label: "Errors"
    type: number
    sql: ${TABLE}.errors ;;
    value_format: "#,##0"
  }

  dimension: workspaces {
    label: "Workspaces"
    type: number
    sql: ${TABLE}.workspaces ;;
    value_format: "#,##0"
  }
}
