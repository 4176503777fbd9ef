{#- Macros of the tests that recount a mart. These tests compare whole rows, so that no wrong measure goes unnoticed,
    and read only the built days. -#}

{#- Whether two values differ; null counts as a value. -#}
{% macro differs(left, right) -%}
  {{ left }} is distinct from {{ right }}
{%- endmacro %}

{#- Whether two numbers differ by more than the rounding of a sum in another order. -#}
{% macro differs_beyond_rounding(left, right) -%}
  (({{ left }} is null) != ({{ right }} is null) or abs({{ left }} - {{ right }}) > 1e-9 * greatest(1, abs({{ right }})))
{%- endmacro %}

{#- The rows in which the CTEs `own` (the mart) and `recounted` differ. `counts` and `exact` must be equal,
    `approximate` up to rounding. In a dense mart a row without a recount is a silent one: its counts are 0, the rest is
    null. -#}
{% macro rows_that_differ(keys, counts=[], exact=[], approximate=[], dense=false, more=[]) %}
select
    {%- for key in keys %}
    coalesce(own.{{ key }}, recounted.{{ key }}) as {{ key }},
    {%- endfor %}
    {%- for column in counts + exact + approximate %}
    own.{{ column }} as {{ column }},
    recounted.{{ column }} as {{ column }}_recounted,
    {%- endfor %}
    recounted.{{ keys[0] }} is not null as is_recounted
from own
full outer join recounted on {{ join_condition(keys, 'own', 'recounted') }}
where
    own.{{ keys[0] }} is null
    {%- if not dense %}
    or recounted.{{ keys[0] }} is null
    {%- endif %}
    {%- for column in counts %}
    or {{ differs('own.' ~ column, 'coalesce(recounted.' ~ column ~ ', 0)' if dense else 'recounted.' ~ column) }}
    {%- endfor %}
    {%- for column in exact %}
    or {{ differs('own.' ~ column, 'recounted.' ~ column) }}
    {%- endfor %}
    {%- for column in approximate %}
    or {{ differs_beyond_rounding('own.' ~ column, 'recounted.' ~ column) }}
    {%- endfor %}
{% endmacro %}

{#- The days of the build and the `before` days before each, as a condition with literals. `newest` limits the number of
    days; in a full refresh they are the newest days up to the running day. -#}
{% macro days_up_to_built(before, newest=none) -%}
  {%- if not execute -%}
    true
  {%- elif flags.FULL_REFRESH -%}
    {{ 'true' if newest is none else 'date >= ' ~ add_days(running_day(), -before - newest + 1) }}
  {%- else -%}
    {%- set days = build_days() if newest is none else build_days()[-newest:] -%}
    {%- if days | length > 40 -%}
      date between {{ add_days(day_literal(days[0]), -before) }} and {{ day_literal(days[-1]) }}
    {%- else -%}
      (
      {%- for day in days -%}
        date between {{ add_days(day_literal(day), -before) }} and {{ day_literal(day) }}{{ ' or ' if not loop.last }}
      {%- endfor -%}
      )
    {%- endif -%}
  {%- endif -%}
{%- endmacro %}

{#- The days that a test with windows checks: the newest of the build. One statement built all days, so these suffice.
    -#}
{% macro newest_built_days(newest, column='date') -%}
  {%- if not execute -%}
    true
  {%- elif flags.FULL_REFRESH -%}
    {{ column }} >= {{ add_days(running_day(), 1 - newest) }}
  {%- else -%}
    {{ column }} in (
    {%- for day in build_days()[-newest:] -%}{{ day_literal(day) }}{{ ', ' if not loop.last }}{%- endfor -%}
    )
  {%- endif -%}
{%- endmacro %}

{#- The numbers of latencies in `events` below, and up to, each percentile in `own`, by its keys. -#}
{% macro percentile_ranks(keys) %}
select
    {{ qualified_columns(keys, 'own') }},
    count(*) as latency_count,
    {%- for percent in [50, 90, 95, 99] %}
    {{ as_count('countif(events.duration_ms < own.p' ~ percent ~ '_latency_ms)') }} as below_p{{ percent }},
    {{ as_count('countif(events.duration_ms <= own.p' ~ percent ~ '_latency_ms)') }} as up_to_p{{ percent }}
    {{- ',' if not loop.last }}
    {%- endfor %}
from own
inner join events on {{ join_condition(keys, 'own', 'events') }}
where events.duration_ms is not null
group by {{ qualified_columns(keys, 'own') }}
{% endmacro %}

{#- The rows of `own` with a percentile that is not the ceil(p × n)-th of the latencies, by the counts in the CTE
    `ranks`: it must be an observed value of that rank. A sketch may be off by about two ranks in a hundred. -#}
{% macro percentiles_that_differ(keys) %}
{%- set slack = '(1 + 0.02 * ranks.latency_count)' if sketches_percentiles() else '0' %}
select own.*
from own
left join ranks on {{ join_condition(keys, 'own', 'ranks') }}
where
    {%- for percent in [50, 90, 95, 99] %}
    {%- set own = 'own.p' ~ percent ~ '_latency_ms' %}
    {%- set rank = integer_divide(percent ~ ' * ranks.latency_count + 99', 100) %}
    (({{ own }} is null) != (ranks.latency_count is null))
    or ranks.below_p{{ percent }} >= {{ rank }} + {{ slack }}
    or ranks.up_to_p{{ percent }} < {{ rank }} - {{ slack }}
    {{- ' or' if not loop.last }}
    {%- endfor %}
{% endmacro %}
