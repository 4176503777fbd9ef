# Generated from metrics.yaml and vizro/*.yaml by `audit dashboards generate`; edit those, not this file.
- dashboard: ai_audit_capability
  title: 'AI Copilot / Observability: Capability'
  description: Anomalies, new capabilities and latency.
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
  elements:
  - name: T24
    title: New Capabilities (7d)
    model: ai_audit
    explore: capabilities
    type: single_value
    fields:
    - capabilities.new_capabilities
    - capabilities.t24_names
    filters:
      capabilities.window: d7
    limit: '5000'
    listen:
      Date: capabilities.range
      Capability: capabilities.capability
    note_state: collapsed
    note_display: hover
    note_text: Capabilities first seen in the 7 days up to the end of the range, from the capability registry.
    show_comparison: true
    comparison_type: value
    show_comparison_label: true
    row: 0
    col: 0
    width: 8
    height: 4
  - name: T25
    title: Spike Alerts (24h)
    model: ai_audit
    explore: anomalies
    type: single_value
    fields:
    - anomalies.spikes
    - anomalies.t25_names
    filters:
      anomalies.window: d2
    limit: '5000'
    listen:
      Date: anomalies.range
      Capability: anomalies.capability
    note_state: collapsed
    note_display: hover
    note_text: Capabilities above 1.75 times the median of the preceding 7 days, on the last complete UTC day and
      the day after it.
    show_comparison: true
    comparison_type: value
    show_comparison_label: true
    row: 0
    col: 8
    width: 8
    height: 4
  - name: T26
    title: Drop Alerts (24h)
    model: ai_audit
    explore: anomalies
    type: single_value
    fields:
    - anomalies.drops
    - anomalies.t26_names
    filters:
      anomalies.window: d2
    limit: '5000'
    listen:
      Date: anomalies.range
      Capability: anomalies.capability
    note_state: collapsed
    note_display: hover
    note_text: Capabilities below 0.4 times the median of the preceding 7 days, on the last complete UTC day. The
      current day never counts as a drop.
    show_comparison: true
    comparison_type: value
    show_comparison_label: true
    row: 0
    col: 16
    width: 8
    height: 4
  - name: T30
    title: Volume against its expected range
    model: ai_audit
    explore: volume
    type: looker_line
    fields:
    - volume.date
    - volume.interactions_figure
    - volume.mean_7d_figure
    - volume.low_figure
    - volume.high_figure
    - volume.is_flagged_figure
    hidden_fields:
    - volume.is_flagged_figure
    sorts:
    - volume.date
    limit: '5000'
    listen:
      Date: volume.range
      Capability: volume.capability_filter
    note_state: collapsed
    note_display: hover
    note_text: Interactions per UTC day. The band is the mean of the preceding 7 days ± two standard deviations;
      days outside it are marked.
    row: 4
    col: 0
    width: 16
    height: 7
  - name: T27
    title: Anomalies by severity
    model: ai_audit
    explore: anomalies
    type: looker_bar
    fields:
    - anomalies.capability
    - anomalies.severity
    - anomalies.days
    pivots:
    - anomalies.severity
    filters:
      anomalies.t27_rows: 'Yes'
    sorts:
    - anomalies.days desc
    - anomalies.capability
    limit: '10'
    column_limit: '200'
    listen:
      Date: anomalies.range
      Capability: anomalies.capability
    note_state: collapsed
    note_display: hover
    note_text: Days in the range with a spike or a drop, by capability and severity.
    stacking: normal
    row: 4
    col: 16
    width: 8
    height: 7
  - name: T31
    title: Latency P50, P90, P99
    model: ai_audit
    explore: latency_by_day
    type: looker_line
    fields:
    - latency_by_day.date
    - latency_by_day.p50_figure
    - latency_by_day.p90_figure
    - latency_by_day.p99_figure
    sorts:
    - latency_by_day.date
    limit: '5000'
    listen:
      Date: latency_by_day.range
      Capability: latency_by_day.capability_filter
    note_state: collapsed
    note_display: hover
    note_text: Latency percentiles per UTC day, from the histogram of events.
    row: 11
    col: 0
    width: 12
    height: 7
  - name: T28
    title: Latency by capability
    model: ai_audit
    explore: latency_by_capability
    type: looker_boxplot
    fields:
    - latency_by_capability.capability
    - latency_by_capability.p5_figure
    - latency_by_capability.p25_figure
    - latency_by_capability.p50_figure
    - latency_by_capability.p75_figure
    - latency_by_capability.p95_figure
    sorts:
    - latency_by_capability.p95_figure desc
    - latency_by_capability.capability
    limit: '12'
    listen:
      Date: latency_by_capability.range
      Capability: latency_by_capability.capability_filter
    note_state: collapsed
    note_display: hover
    note_text: Boxes show the middle 50 % of interactions, whiskers the 5th to the 95th percentile.
    row: 11
    col: 12
    width: 12
    height: 7
  - name: T32
    title: Success and failure
    model: ai_audit
    explore: capability_days
    type: looker_bar
    fields:
    - capability_days.capability
    - capability_days.successes
    - capability_days.errors
    - capability_days.unknown
    sorts:
    - capability_days.successes desc
    - capability_days.capability
    limit: '12'
    listen:
      Date: capability_days.range
      Capability: capability_days.capability
    note_state: collapsed
    note_display: hover
    note_text: Interactions in the range by outcome.
    stacking: normal
    row: 18
    col: 0
    width: 12
    height: 7
  - name: T33
    title: Prompt length and duration (24h)
    model: ai_audit
    explore: interactions
    type: looker_scatter
    fields:
    - interactions.prompt_length
    - interactions.created_at
    - interactions.id
    - interactions.status_class
    - interactions.duration_ms_figure
    pivots:
    - interactions.status_class
    hidden_fields:
    - interactions.created_at
    - interactions.id
    filters:
      interactions.window: h24
      interactions.t33_rows: 'Yes'
    sorts:
    - interactions.created_at desc
    - interactions.id
    limit: '500'
    column_limit: '200'
    listen:
      Date: interactions.range
      Capability: interactions.capability
    note_state: collapsed
    note_display: hover
    note_text: The newest 500 interactions in the 24 hours up to the end of the range, on logarithmic scales.
    row: 18
    col: 12
    width: 12
    height: 7
  - name: T29
    title: Anomaly log (14d)
    model: ai_audit
    explore: anomalies
    type: looker_grid
    fields:
    - anomalies.date
    - anomalies.capability
    - anomalies.interaction_count
    - anomalies.median_7d
    - anomalies.deviation_percent
    - anomalies.deviation_state
    - anomalies.severity
    - anomalies.evaluation_status
    filters:
      anomalies.window: d14
    sorts:
    - anomalies.date desc
    - anomalies.capability
    limit: '5000'
    listen:
      Date: anomalies.range
      Capability: anomalies.capability
    note_state: collapsed
    note_display: hover
    note_text: The 14 UTC days up to the end of the range, newest first. The current day never counts as a drop.
    conditional_formatting:
    - type: not equal to
      value: normal
      font_color: '#B42318'
      bold: true
      fields:
      - anomalies.deviation_state
    row: 25
    col: 0
    width: 24
    height: 9
