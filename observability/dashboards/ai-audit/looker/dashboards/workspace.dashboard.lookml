# Made from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; change those, not this file.
- dashboard: ai_audit_workspace
  title: 'AI Copilot / Observability: Workspace'
  description: Coverage by workspace, the silent ones among them.
  layout: newspaper
  preferred_viewer: dashboards-next
  filters:
  - name: Date
    title: Date (UTC days)
    type: date_filter
    default_value: 7 days
    allow_multiple_values: false
    required: true
  - name: Team
    title: Team
    type: field_filter
    model: ai_audit
    explore: workspaces
    field: workspaces.team
    allow_multiple_values: true
    required: false
  - name: Owner
    title: Owner
    type: field_filter
    model: ai_audit
    explore: workspaces
    field: workspaces.owner
    allow_multiple_values: true
    required: false
  - name: Activity
    title: Activity
    type: field_filter
    model: ai_audit
    explore: workspaces
    field: workspaces.activity
    allow_multiple_values: true
    required: false
  elements:
  - name: T22
    title: Freshness
    model: ai_audit
    explore: syncs
    type: single_value
    fields:
    - syncs.newest_age
    limit: '5000'
    note_state: collapsed
    note_display: hover
    note_text: Time since the newest sync ended. The target is 5 minutes.
    conditional_formatting:
    - type: greater than
      value: 300.0
      font_color: '#B42318'
      bold: true
      fields: null
    row: 0
    col: 0
    width: 6
    height: 7
  - name: T17
    title: Interactions by workspace and day
    model: ai_audit
    explore: workspace_days
    type: looker_grid
    fields:
    - workspace_days.date
    - workspace_days.workspace_id
    - workspace_days.interactions
    pivots:
    - workspace_days.workspace_id
    sorts:
    - workspace_days.date
    limit: '5000'
    column_limit: '200'
    listen:
      Date: workspace_days.range
    note_state: collapsed
    note_display: hover
    note_text: The busiest workspaces of the range, the busiest on top.
    conditional_formatting:
    - type: along a scale...
      fields: null
    row: 0
    col: 6
    width: 12
    height: 7
  - name: T21
    title: Leaderboard
    model: ai_audit
    explore: workspaces
    type: looker_bar
    fields:
    - workspaces.workspace_id
    - workspaces.total_interactions_figure
    sorts:
    - workspaces.total_interactions_figure desc
    limit: '12'
    listen:
      Date: workspaces.range
      Team: workspaces.team
      Owner: workspaces.owner
      Activity: workspaces.activity
    note_state: collapsed
    note_display: hover
    note_text: The busiest workspaces of the range.
    row: 0
    col: 18
    width: 6
    height: 7
  - name: T14
    title: Workspaces (14d)
    model: ai_audit
    explore: workspaces
    type: looker_grid
    fields:
    - workspaces.workspace_id
    - workspaces.name
    - workspaces.team
    - workspaces.owner
    - workspaces.last_interaction_at
    - workspaces.total_interactions
    - workspaces.error_rate
    - workspaces.unique_capabilities
    - workspaces.activity
    filters:
      workspaces.window: d14
    sorts:
    - workspaces.last_interaction_at desc
    limit: '5000'
    listen:
      Date: workspaces.range
      Team: workspaces.team
      Owner: workspaces.owner
      Activity: workspaces.activity
    note_state: collapsed
    note_display: hover
    note_text: The 14 UTC days up to the end of the range. An error rate above 5 % stands out.
    conditional_formatting:
    - type: greater than
      value: 0.05
      font_color: '#B42318'
      bold: true
      fields:
      - workspaces.error_rate
    row: 7
    col: 0
    width: 24
    height: 9
  - name: T23
    title: Recent incidents
    model: ai_audit
    explore: incidents
    type: looker_grid
    fields:
    - incidents.opened_at
    - incidents.rule_id
    - incidents.capability
    - incidents.state
    - incidents.severity
    - incidents.delta_percent
    - incidents.interactions
    - incidents.errors
    - incidents.workspaces
    - incidents.acknowledged_by
    sorts:
    - incidents.opened_at desc
    limit: '5000'
    listen:
      Date: incidents.range
    note_state: collapsed
    note_display: hover
    note_text: Alerts whose time touches the range, with what the logs hold of their capability on those days.
    row: 16
    col: 0
    width: 24
    height: 9
