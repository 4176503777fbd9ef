# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.
- dashboard: ai_audit_overview
  title: 'AI Copilot / Observability: Overview'
  description: Adoption and health of the copilot.
  layout: newspaper
  preferred_viewer: dashboards-next
  filters:
  - name: Date
    title: Date (UTC days)
    type: date_filter
    default_value: 7 days
    allow_multiple_values: false
    required: true
  - name: Capability
    title: Capability
    type: field_filter
    model: ai_audit
    explore: interactions
    field: interactions.capability
    allow_multiple_values: true
    required: false
  - name: Provider
    title: Provider
    type: field_filter
    model: ai_audit
    explore: interactions
    field: interactions.provider
    allow_multiple_values: true
    required: false
  elements:
  - name: T01
    title: Total Interactions (24h)
    model: ai_audit
    explore: interactions
    type: single_value
    fields:
    - interactions.interactions
    filters:
      interactions.window: h24
    limit: '5000'
    listen:
      Date: interactions.range
      Capability: interactions.capability
      Provider: interactions.provider
    note_state: collapsed
    note_display: hover
    note_text: Interactions in the 24 hours up to the end of the range, compared with the previous 24 hours.
    row: 0
    col: 0
    width: 6
    height: 4
  - name: T02
    title: Active Workspaces (7d)
    model: ai_audit
    explore: workspace_counts
    type: single_value
    fields:
    - workspace_counts.active_workspaces
    filters:
      workspace_counts.window: d7
    limit: '5000'
    listen:
      Date: workspace_counts.range
      Capability: workspace_counts.capability
      Provider: workspace_counts.provider
    note_state: collapsed
    note_display: hover
    note_text: Distinct workspaces with an interaction in the 7 UTC days up to the end of the range. Click the title
      to list them.
    row: 0
    col: 6
    width: 6
    height: 4
  - name: T03
    title: Error Rate (24h)
    model: ai_audit
    explore: interactions
    type: single_value
    fields:
    - interactions.error_rate
    - interactions.unknown
    - interactions.literal_error_rate
    filters:
      interactions.window: h24
    limit: '5000'
    listen:
      Date: interactions.range
      Capability: interactions.capability
      Provider: interactions.provider
    note_state: collapsed
    note_display: hover
    note_text: Errors divided by successes and errors, in the 24 hours up to the end of the range. Unknown outcomes
      are not counted.
    show_comparison: true
    comparison_type: value
    show_comparison_label: true
    conditional_formatting:
    - type: greater than
      value: 0.05
      font_color: '#B42318'
      bold: true
      fields: null
    row: 0
    col: 12
    width: 6
    height: 4
  - name: T04
    title: P95 Latency (24h)
    model: ai_audit
    explore: interactions
    type: single_value
    fields:
    - interactions.p95_latency
    filters:
      interactions.window: h24
    limit: '5000'
    listen:
      Date: interactions.range
      Capability: interactions.capability
      Provider: interactions.provider
    note_state: collapsed
    note_display: hover
    note_text: 95 % of interactions in the 24 hours up to the end of the range were answered within this time.
    row: 0
    col: 18
    width: 6
    height: 4
  - name: T05
    title: Interactions by capability
    model: ai_audit
    explore: daily
    type: looker_area
    fields:
    - daily.date
    - daily.capability
    - daily.interactions
    pivots:
    - daily.capability
    sorts:
    - daily.date
    limit: '5000'
    column_limit: '200'
    listen:
      Date: daily.range
      Capability: daily.capability
      Provider: daily.provider
    note_state: collapsed
    note_display: hover
    note_text: Interactions per UTC day. Click an area to open that capability. The smallest capabilities are combined
      as “Other”.
    stacking: normal
    row: 4
    col: 0
    width: 16
    height: 7
  - name: T07
    title: Provider mix
    model: ai_audit
    explore: provider_days
    type: looker_pie
    fields:
    - provider_days.provider
    - provider_days.interactions
    sorts:
    - provider_days.interactions desc
    - provider_days.provider
    limit: '5000'
    listen:
      Date: provider_days.range
      Capability: provider_days.capability
      Provider: provider_days.provider
    note_state: collapsed
    note_display: hover
    note_text: Interactions in the range by provider. Only this chart counts `stub`, which calls no model.
    value_labels: legend
    inner_radius: 60
    row: 4
    col: 16
    width: 8
    height: 7
  - name: T06
    title: Error rate
    model: ai_audit
    explore: daily
    type: looker_line
    fields:
    - daily.date
    - daily.error_rate
    sorts:
    - daily.date
    limit: '5000'
    listen:
      Date: daily.range
      Capability: daily.capability
      Provider: daily.provider
    note_state: collapsed
    note_display: hover
    note_text: Error rate per UTC day, with the target of 5 % and the alerts in the range.
    reference_lines:
    - reference_type: line
      range_start: max
      range_end: min
      line_value: '0.05'
      label: target ≤ 5 %
      color: '#B42318'
    row: 11
    col: 0
    width: 16
    height: 7
  - name: T09
    title: Latency by provider
    model: ai_audit
    explore: latency_by_provider
    type: looker_boxplot
    fields:
    - latency_by_provider.provider
    - latency_by_provider.p5_figure
    - latency_by_provider.p25_figure
    - latency_by_provider.p50_figure
    - latency_by_provider.p75_figure
    - latency_by_provider.p95_figure
    sorts:
    - latency_by_provider.p95_figure desc
    - latency_by_provider.provider
    limit: '5000'
    listen:
      Date: latency_by_provider.range
      Capability: latency_by_provider.capability_filter
      Provider: latency_by_provider.provider_filter
    note_state: collapsed
    note_display: hover
    note_text: Boxes show the middle 50 % of interactions, whiskers the 5th to the 95th percentile.
    row: 11
    col: 16
    width: 8
    height: 7
  - name: T08
    title: Daily volume
    model: ai_audit
    explore: workspace_counts
    type: looker_line
    fields:
    - workspace_counts.date
    - workspace_counts.interactions
    - workspace_counts.active_workspaces
    sorts:
    - workspace_counts.date
    limit: '5000'
    listen:
      Date: workspace_counts.range
      Capability: workspace_counts.capability
      Provider: workspace_counts.provider
    note_state: collapsed
    note_display: hover
    note_text: Interactions per UTC day, and the number of distinct workspaces behind them.
    y_axes:
    - orientation: left
      series:
      - id: workspace_counts.interactions
        name: Interactions
    - orientation: right
      series:
      - id: workspace_counts.active_workspaces
        name: Active workspaces
    row: 18
    col: 0
    width: 12
    height: 7
  - name: T12
    title: P95 and longest latency
    model: ai_audit
    explore: latency_by_day
    type: looker_line
    fields:
    - latency_by_day.date
    - latency_by_day.p95_figure
    - latency_by_day.longest_figure
    sorts:
    - latency_by_day.date
    limit: '5000'
    listen:
      Date: latency_by_day.range
      Capability: latency_by_day.capability_filter
      Provider: latency_by_day.provider_filter
    note_state: collapsed
    note_display: hover
    note_text: P95 and longest latency per UTC day, on a logarithmic scale.
    y_axes:
    - type: log
    row: 18
    col: 12
    width: 12
    height: 7
  - name: T11
    title: Error funnel
    model: ai_audit
    explore: error_funnel
    type: looker_funnel
    fields:
    - error_funnel.interactions
    - error_funnel.successes
    - error_funnel.errors_by_status
    - error_funnel.errors_by_flag
    - error_funnel.errors_by_both
    - error_funnel.unknown
    limit: '5000'
    listen:
      Date: error_funnel.range
      Capability: error_funnel.capability
      Provider: error_funnel.provider
    note_state: collapsed
    note_display: hover
    note_text: Interactions in the range in five disjoint classes, which add up to the total.
    row: 25
    col: 0
    width: 8
    height: 7
  - name: T13
    title: Workspace coverage
    model: ai_audit
    explore: coverage
    type: looker_line
    fields:
    - coverage.date
    - coverage.is_estimated
    - coverage.coverage_rate
    pivots:
    - coverage.is_estimated
    sorts:
    - coverage.date
    limit: '5000'
    column_limit: '200'
    listen:
      Date: coverage.range
    note_state: collapsed
    note_display: hover
    note_text: Share of the workspaces opened in the 14 days up to each day that have at least one record. Hollow
      points are estimates calculated later.
    row: 25
    col: 8
    width: 8
    height: 7
  - name: T36
    title: Tokens by model (7d)
    model: ai_audit
    explore: interactions
    type: looker_bar
    fields:
    - interactions.model
    - interactions.prompt_tokens_sum
    - interactions.completion_tokens_sum
    filters:
      interactions.window: d7
      interactions.t36_rows: 'Yes'
    sorts:
    - interactions.prompt_tokens_sum desc
    - interactions.model
    limit: '8'
    listen:
      Date: interactions.range
      Capability: interactions.capability
      Provider: interactions.provider
    note_state: collapsed
    note_display: hover
    note_text: Tokens in the 7 days up to the end of the range, by model, for interactions with logged token counts.
    stacking: normal
    row: 25
    col: 16
    width: 8
    height: 7
