# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.

view: workspaces {
  label: "Workspaces"
  derived_table: {
    sql:
      with used as (
        select
          workspace_id,
          max(last_interaction_at) as last_interaction_at,
          sum(interaction_count) as total_interactions,
          sum(error_count) / nullif(sum(success_count) + sum(error_count), 0) as error_rate,
          count(distinct capability) as unique_capabilities,
          max(date) as last_day
        from `@{project}.@{dataset}.ai_audit_workspace_counts`
        where date between {% if workspaces.window._parameter_value == 'd14' %}date_sub(coalesce(date(timestamp_sub(cast({% date_end workspaces.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 13 day){% else %}coalesce(date(cast({% date_start workspaces.range %} as timestamp)), date_sub(coalesce(date(timestamp_sub(cast({% date_end workspaces.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 6 day)){% endif %} and coalesce(date(timestamp_sub(cast({% date_end workspaces.range %} as timestamp), interval 1 microsecond)), current_date('UTC')) and {% condition workspaces.workspace_filter %} workspace_id {% endcondition %} and not is_unassigned and not is_stub
        group by workspace_id
      ),
      known as (
        select workspace_id, name, team, owner, last_accessed_at
        from `@{project}.@{dataset}.ai_audit_workspaces`
        where {% condition workspaces.workspace_filter %} workspace_id {% endcondition %}
      )
      select
        coalesce(used.workspace_id, known.workspace_id) as workspace_id,
        known.name,
        coalesce(known.team, 'no team') as team,
        coalesce(known.owner, 'no owner') as owner,
        used.last_interaction_at,
        known.last_accessed_at,
        coalesce(used.total_interactions, 0) as total_interactions,
        used.error_rate,
        coalesce(used.unique_capabilities, 0) as unique_capabilities,
        case when used.last_day > date_sub(coalesce(date(timestamp_sub(cast({% date_end workspaces.range %} as timestamp), interval 1 microsecond)), current_date('UTC')), interval 7 day) then 'active' else 'inactive 7d' end as activity
      from known
      full join used on known.workspace_id = used.workspace_id
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
      label: "its last 14d"
      value: "d14"
    }
    allowed_value: {
      label: "the whole range"
      value: "range"
    }
  }

  filter: workspace_filter {
    label: "Workspace (filter)"
    type: string
    suggest_explore: interactions
    suggest_dimension: interactions.workspace_id
  }

  dimension: workspace_id {
    label: "Workspace"
    type: string
    sql: ${TABLE}.workspace_id ;;
    link: {
      label: "Open"
      url: "@{app_url}/workspaces/{{ workspaces.workspace_id._value | url_encode }}"
    }
    link: {
      label: "Raw records"
      url: "@{dashboards_url}/audit-log?workspace={{ workspaces.workspace_id._value | url_encode }}"
    }
  }

  dimension: name {
    label: "Name"
    type: string
    sql: ${TABLE}.name ;;
  }

  dimension: team {
    label: "Team"
    type: string
    sql: ${TABLE}.team ;;
  }

  dimension: owner {
    label: "Owner"
    type: string
    sql: ${TABLE}.owner ;;
  }

  dimension: last_interaction_at {
    label: "Last interaction"
    type: date_time
    sql: ${TABLE}.last_interaction_at ;;
    datatype: timestamp
    convert_tz: no
  }

  dimension: last_accessed_at {
    label: "Last opened"
    type: date_time
    sql: ${TABLE}.last_accessed_at ;;
    datatype: timestamp
    convert_tz: no
  }

  dimension: total_interactions {
    label: "Interactions"
    type: number
    sql: ${TABLE}.total_interactions ;;
    value_format: "#,##0"
  }

  dimension: error_rate {
    label: "Error rate"
    type: number
    sql: ${TABLE}.error_rate ;;
    value_format: "0.0%"
  }

  dimension: unique_capabilities {
    label: "Capabilities"
    type: number
    sql: ${TABLE}.unique_capabilities ;;
    value_format: "#,##0"
  }

  dimension: activity {
    label: "Activity"
    type: string
    sql: ${TABLE}.activity ;;
  }

  measure: workspaces {
    label: "Workspaces"
    type: number
    sql: count(*) ;;
    value_format: "#,##0"
  }

  measure: silent {
    label: "Inactive workspaces"
    type: number
    sql: count(case when total_interactions = 0 then 1 end) ;;
    value_format: "#,##0"
  }

  measure: total_interactions_figure {
    label: "Interactions"
    type: max
    sql: ${TABLE}.total_interactions ;;
    value_format: "#,##0"
  }
}
