{#- What a build covers: the days of AI_AUDIT_BUILD_DAYS, and the source's now of AI_AUDIT_BUILD_NOW.
    Both are read only while executing: read while parsing, each change of them would parse the project anew. -#}

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

{#- The source's now as ISO text in UTC without its zone: 2026-11-05 12:00:00. -#}
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

{#- True where the whole history is built: a full refresh, or a table that is not there yet (none of its days is
    right). AI_AUDIT_BUILD_DAYS must be named for the latter too, so that a forgotten window is always an error. -#}
{% macro builds_everything() %}
  {%- if not execute or should_full_refresh() -%}{{ return(true) }}{%- endif -%}
  {%- do build_days() -%}
  {{ return(not is_incremental()) }}
{% endmacro %}

{% macro day_literal(day) %}date '{{ day }}'{% endmacro %}

{% macro now_literal() %}{{ timestamp_literal(build_now()) }}{% endmacro %}

{#- The day of the source's now: it is not over, and the dense calendar reaches to it. -#}
{% macro running_day() %}{{ day_literal(build_now()[:10]) }}{% endmacro %}

{% macro build_day_list() -%}
  {%- for day in build_days() -%}{{ day_literal(day) }}{{ ', ' if not loop.last }}{%- endfor -%}
{%- endmacro %}

{#- A condition on a DATE column: the days this build replaces in a table that is rebuilt day by day. -#}
{% macro is_built_day(column='date') -%}
  {%- if builds_everything() -%}
    true
  {%- else -%}
    {{ column }} in ({{ build_day_list() }})
  {%- endif -%}
{%- endmacro %}

{#- The same on staging. The plain bounds on created_at come first: they are what both engines prune files by. -#}
{% macro is_built_row() -%}
  {%- if builds_everything() -%}
    {{ every_row() }}
  {%- else -%}
    {{ rows_of_build_days() }}
  {%- endif -%}
{%- endmacro %}

{#- A condition that every row of the raw table or of staging meets. BigQuery answers no statement that reads them
    without a literal bound on created_at (the raw table says require_partition_filter). -#}
{% macro every_row() -%}
  {%- if target.type == 'bigquery' -%}
    created_at >= {{ timestamp_literal('1900-01-01 00:00:00') }}
  {%- else -%}
    true
  {%- endif -%}
{%- endmacro %}

{% macro rows_of_build_days(day='date') -%}
  {%- set days = build_days() -%}
  {%- set last = modules.datetime.datetime.strptime(days[-1], '%Y-%m-%d') -%}
  {%- set end = (last + modules.datetime.timedelta(days=1)).strftime('%Y-%m-%d') -%}
  created_at >= {{ timestamp_literal(days[0] ~ ' 00:00:00') }}
  and created_at < {{ timestamp_literal(end ~ ' 00:00:00') }}
  and {{ day }} in ({{ build_day_list() }})
{%- endmacro %}

{#- The first day a dense table must rebuild. Zero days and windows reach forward from the first changed day, and
    days on which nothing was synced have no rows yet: so from the earlier of the first built day and the last day
    the table holds. For BigQuery that is a literal, asked for once: it prunes partitions by nothing else. -#}
{% macro first_dense_day() -%}
  {%- if builds_everything() -%}
    {{ day_literal('1900-01-01') }}
  {%- elif target.type == 'bigquery' -%}
    {{ day_literal([build_days()[0], last_held_day()] | min) }}
  {%- else -%}
    (
      select least({{ day_literal(build_days()[0]) }}, coalesce(max(date), {{ day_literal(build_days()[0]) }}))
      from {{ this }}
    )
  {%- endif -%}
{%- endmacro %}

{#- The last day `this` holds, as ISO text, where it lies in the hundred days before the first built one or later; else
    a day before all others, since then no day is known to be right. Where nothing may be asked, the first built day. -#}
{% macro last_held_day() %}
  {%- if not flags.INTROSPECT -%}{{ return(build_days()[0]) }}{%- endif -%}
  {%- if 'last_held_day' not in model -%}
    {%- set held = run_query(
      'select cast(max(date) as string) as last_day from ' ~ this
      ~ ' where date >= ' ~ add_days(day_literal(build_days()[0]), -100)
    ) -%}
    {%- do model.update({'last_held_day': (held.rows[0][0] or '1900-01-01') | string}) -%}
  {%- endif -%}
  {{ return(model.last_held_day) }}
{% endmacro %}
