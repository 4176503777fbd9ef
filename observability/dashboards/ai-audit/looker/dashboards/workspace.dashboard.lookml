# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.
- dashboard: ai_audit_workspace
  title: 'AI Copilot / Observability: Workspace'
  description: Usage and errors by workspace, including inactive workspaces.
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
    filters:
      syncs.window: all
    limit: '5000'
    note_state: collapsed
    note_display: hover
    note_text: Time since the end of the newest sync whose rows are built and published. The target is 5 minutes.
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
    note_text: The 30 most active workspaces in the range, most active on top.
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
    - workspaces.workspace_id
    limit: '12'
    listen:
      Date: workspaces.range
      Team: workspaces.team
      Owner: workspaces.owner
      Activity: workspaces.activity
    note_state: collapsed
    note_display: hover
    note_text: The 12 most active workspaces in the range.
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
    - workspaces.workspace_id
    limit: '5000'
    listen:
      Date: workspaces.range
      Team: workspaces.team
      Owner: workspaces.owner
      Activity: workspaces.activity
    note_state: collapsed
    note_display: hover
    note_text: Workspaces over the 14 UTC days up to the end of the range. Error rates above 5 % are highlighted.
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
    - incidents.is_total
    - incidents.key
    hidden_fields:
    - incidents.key
    sorts:
    - incidents.opened_at desc
    - incidents.key
    limit: '5000'
    listen:
      Date: incidents.range
    note_state: collapsed
    note_display: hover
    note_text: Alerts that overlap the range, with the interactions of their capability on those days.
    row: 16
    col: 0
    width: 24
    height: 9
