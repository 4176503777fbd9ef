{#- The window of a build: the days in AI_AUDIT_BUILD_DAYS, and the source's now in AI_AUDIT_BUILD_NOW.
    Both are read only while executing: if they were read while parsing, each change would parse the project again. -#}

{#- The UTC days to rebuild, sorted, as ISO text. -#}
{% macro build_days() %}
  {%- if not execute -%}{{ return([]) }}{%- endif -%}
  {%- set days = [] -%}
  {%- for day in env_var('AI_AUDIT_BUILD_DAYS', '').split(',') if day.strip() -%}
    {%- if not modules.re.fullmatch('[0-9]{4}-[0-9]{2}-[0-9]{2}', day.strip()) -%}
      {{ exceptions.raise_compiler_error(
        "AI_AUDIT_BUILD_DAYS: '" ~ day ~ "' is not a day; name UTC days as 2026-11-01,2026-11-02"
      ) }}
    {%- endif -%}
    {%- do days.append(day.strip()) -%}
  {%- endfor -%}
  {%- if not days -%}
    {{ exceptions.raise_compiler_error(
      "AI_AUDIT_BUILD_DAYS is not set: name the UTC days to rebuild, as 2026-11-01,2026-11-02, "
      ~ "or rebuild everything with --full-refresh"
    ) }}
  {%- endif -%}
  {{ return(days | unique | sort) }}
{% endmacro %}

{#- The source's now as ISO text in UTC, without the zone: 2026-11-05 12:00:00. -#}
{% macro build_now() %}
  {%- if not execute -%}{{ return('1970-01-01 00:00:00') }}{%- endif -%}
  {%- set now = env_var('AI_AUDIT_BUILD_NOW', '') -%}
  {%- set instant = '([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?)(Z|[+]00:?00)' -%}
  {%- set found = modules.re.fullmatch(instant, now) -%}
  {%- if not found -%}
    {{ exceptions.raise_compiler_error(
      "AI_AUDIT_BUILD_NOW: '" ~ now ~ "' is not an instant in UTC; give the source's now as 2026-11-05T12:00:00Z"
    ) }}
  {%- endif -%}
  {{ return(found.group(1) ~ ' ' ~ found.group(2)) }}
{% endmacro %}

{#- Overrides dbt's macro. A table that lacks a column of its contract, as created by an earlier version, is also
    rebuilt from the whole history: a column that is only added would be empty for earlier days. -#}
{% macro should_full_refresh() %}
  {%- set configured = config.get('full_refresh') -%}
  {%- if configured is not none -%}{{ return(configured) }}{%- endif -%}
  {{ return(flags.FULL_REFRESH or lacks_a_column()) }}
{% endmacro %}

{% macro lacks_a_column() %}
  {%- if not execute or not flags.INTROSPECT or config.get('materialized') != 'incremental' -%}{{ return(false) }}{%- endif -%}
  {%- if 'lacks_a_column' not in model -%}
    {%- set existing = load_relation(this) -%}
    {%- set names = get_columns_in_relation(existing) | map(attribute='name') | map('lower') | list if existing else [] -%}
    {%- do model.update({'lacks_a_column': existing is not none and model.columns.keys() | reject('in', names) | list | length > 0}) -%}
  {%- endif -%}
  {{ return(model.lacks_a_column) }}
{% endmacro %}

{#- Whether the whole history is built: in a full refresh, or if the table does not exist yet. AI_AUDIT_BUILD_DAYS must
    be set for the latter too, so that a missing window is always an error. -#}
{% macro builds_everything() %}
  {%- if not execute or should_full_refresh() -%}{{ return(true) }}{%- endif -%}
  {%- do build_days() -%}
  {{ return(not is_incremental()) }}
{% endmacro %}

{% macro day_literal(day) %}date '{{ day }}'{% endmacro %}

{% macro now_literal() %}{{ timestamp_literal(build_now()) }}{% endmacro %}

{#- The day of the source's now. It is not over; the dense calendar ends with it. -#}
{% macro running_day() %}{{ day_literal(build_now()[:10]) }}{% endmacro %}

{% macro build_day_list(days=none) -%}
  {%- for day in days or build_days() -%}{{ day_literal(day) }}{{ ', ' if not loop.last }}{%- endfor -%}
{%- endmacro %}

{#- A condition on a DATE column: the days that this build replaces in a table that is rebuilt per day. -#}
{% macro is_built_day(column='date') -%}
  {%- if builds_everything() -%}
    true
  {%- else -%}
    {{ column }} in ({{ build_day_list() }})
  {%- endif -%}
{%- endmacro %}

{#- The same for rows of staging. `and_days` are offsets in days from each built day, whose rows are included. The
    bounds on created_at come first, since both engines prune files by them. -#}
{% macro is_built_row(and_days=[]) -%}
  {%- if builds_everything() -%}
    {{ every_row() }}
  {%- else -%}
    {{ rows_of_build_days(days=build_days_and(and_days)) }}
  {%- endif -%}
{%- endmacro %}

{#- The built days and, for each, the days at the offsets `shifts`, sorted. -#}
{% macro build_days_and(shifts) %}
  {%- set days = build_days() | list -%}
  {%- for day in build_days() -%}
    {%- for shift in shifts -%}
      {%- do days.append(shifted_day(day, shift)) -%}
    {%- endfor -%}
  {%- endfor -%}
  {{ return(days | unique | sort) }}
{% endmacro %}

{% macro shifted_day(day, shift) %}
  {%- set found = modules.datetime.datetime.strptime(day, '%Y-%m-%d') + modules.datetime.timedelta(days=shift) -%}
  {{ return(found.strftime('%Y-%m-%d')) }}
{% endmacro %}

{#- A condition that every row of the raw table or of staging meets. BigQuery refuses statements that read them without
    a literal bound on created_at (the raw table has require_partition_filter). -#}
{% macro every_row() -%}{{ adapter.dispatch('every_row')() }}{%- endmacro %}
{% macro default__every_row() -%}true{%- endmacro %}
{% macro bigquery__every_row() -%}created_at >= {{ timestamp_literal('1900-01-01 00:00:00') }}{%- endmacro %}

{% macro rows_of_build_days(day='date', days=none) -%}
  {%- set days = days or build_days() -%}
  created_at >= {{ timestamp_literal(days[0] ~ ' 00:00:00') }}
  and created_at < {{ timestamp_literal(shifted_day(days[-1], 1) ~ ' 00:00:00') }}
  and {{ day }} in ({{ build_day_list(days) }})
{%- endmacro %}

{#- The first day a dense table must rebuild: the earlier of the first built day and the table's last day. Days of zeros
    and windows depend on the days before them, and days without a sync have no rows yet. BigQuery prunes partitions
    only by literals, so there the day is queried once and becomes a literal. -#}
{% macro first_dense_day() -%}
  {%- if builds_everything() -%}
    {{ day_literal('1900-01-01') }}
  {%- else -%}
    {{ adapter.dispatch('earlier_of_built_and_last_day')() }}
  {%- endif -%}
{%- endmacro %}

{% macro default__earlier_of_built_and_last_day() -%}
  (
    select least({{ day_literal(build_days()[0]) }}, coalesce(max(date), {{ day_literal(build_days()[0]) }}))
    from {{ this }}
  )
{%- endmacro %}

{% macro bigquery__earlier_of_built_and_last_day() -%}
  {{ day_literal([build_days()[0], last_loaded_day()] | min) }}
{%- endmacro %}

{#- The last day in `this`, as ISO text, if it is at most a hundred days before the first built day; else a day before
    all others, since then no day is known to be right. Without introspection, the first built day. -#}
{% macro last_loaded_day() %}
  {%- if not flags.INTROSPECT -%}{{ return(build_days()[0]) }}{%- endif -%}
  {%- if 'last_loaded_day' not in model -%}
    {%- set result = run_query(
      'select cast(max(date) as string) as last_day from ' ~ this
      ~ ' where date >= ' ~ add_days(day_literal(build_days()[0]), -100)
    ) -%}
    {%- do model.update({'last_loaded_day': (result.rows[0][0] or '1900-01-01') | string}) -%}
  {%- endif -%}
  {{ return(model.last_loaded_day) }}
{% endmacro %}
