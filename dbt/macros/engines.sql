{#- Everything in which DuckDB and BigQuery differ. -#}

{% macro timestamp_literal(text) -%}
  {%- if target.type == 'bigquery' -%}timestamp '{{ text }}+00'{%- else -%}timestamptz '{{ text }}+00'{%- endif -%}
{%- endmacro %}

{#- Text without surrounding whitespace; null if nothing is left. -#}
{% macro trimmed(text) -%}
  {%- if target.type == 'bigquery' -%}
    nullif(trim({{ text }}, ' \t\n\v\f\r' || chr(160)), '')
  {%- else -%}
    nullif(trim({{ text }}, ' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || chr(160)), '')
  {%- endif -%}
{%- endmacro %}

{#- A number from text, or null, also for infinity and NaN. Only DuckDB would accept 1_000, and only BigQuery 0x10. -#}
{% macro safe_float(text) -%}
  {%- if target.type == 'bigquery' -%}
    if(is_inf(safe_cast({{ text }} as float64)) or is_nan(safe_cast({{ text }} as float64)) or lower({{ text }}) like '%x%', null, safe_cast({{ text }} as float64))
  {%- else -%}
    case
      when isfinite(try_cast({{ text }} as double)) and not contains({{ text }}, '_') then try_cast({{ text }} as double)
    end
  {%- endif -%}
{%- endmacro %}

{#- A non-negative integer from trimmed text, or null. Digits are never cast to a double, which is exact only to 2^53; a
    number with an exponent (1e3) is, and becomes null beyond that. -#}
{% macro safe_count(text) -%}
  case
    when nullif(regexp_extract({{ text }}, '^[+]?[0-9]+(?:[.]0*)?$'), '') is not null
      {%- if target.type == 'bigquery' %}
      then safe_cast(regexp_extract({{ text }}, '[0-9]+') as int64)
      {%- else %}
      then try_cast(regexp_extract({{ text }}, '[0-9]+') as bigint)
      {%- endif %}
    when
      {{ safe_float(text) }} between 0 and 9007199254740991 and floor({{ safe_float(text) }}) = {{ safe_float(text) }}
      and lower({{ text }}) like '%e%'
      then {{ as_count(safe_float(text)) }}
  end
{%- endmacro %}

{#- The length of a JSON list given as text; null for anything else. -#}
{% macro json_list_length(text) -%}
  {%- if target.type == 'bigquery' -%}
    array_length(json_query_array(safe.parse_json({{ text }}, wide_number_mode => 'round'), '$'))
  {%- else -%}
    cast(case when json_valid({{ text }}) then case when json_type({{ text }}) = 'ARRAY' then json_array_length({{ text }}) end end as bigint)
  {%- endif -%}
{%- endmacro %}

{#- Discrete percentiles of a group, computed once; latency_percentile picks one. An exact percentile is an observed
    value, the ceil(p × n)-th. DuckDB keeps the four values; BigQuery keeps the sorted group, up to about ten million
    events. For more, set the variable `percentiles` to `sketch`: BigQuery then returns a value of about that rank, in
    constant memory. -#}
{% macro latency_percentiles(number) -%}
  {%- if target.type != 'bigquery' -%}
    quantile_disc({{ number }}, [0.5, 0.9, 0.95, 0.99])
  {%- elif sketches_percentiles() -%}
    approx_quantiles({{ number }}, 100)
  {%- else -%}
    array_agg({{ number }} ignore nulls order by {{ number }})
  {%- endif -%}
{%- endmacro %}

{% macro latency_percentile(percentiles, percent) -%}
  {%- if target.type != 'bigquery' -%}
    {{ percentiles }}[{{ [50, 90, 95, 99].index(percent) + 1 }}]
  {%- elif sketches_percentiles() -%}
    {{ percentiles }}[safe_offset({{ percent }})]
  {%- else -%}
    {{ percentiles }}[safe_offset(div({{ percent }} * array_length({{ percentiles }}) + 99, 100) - 1)]
  {%- endif -%}
{%- endmacro %}

{% macro sketches_percentiles() %}
  {%- if var('percentiles') not in ['exact', 'sketch'] -%}
    {{ exceptions.raise_compiler_error("percentiles: '" ~ var('percentiles') ~ "' is neither exact nor sketch") }}
  {%- endif -%}
  {{ return(var('percentiles') == 'sketch') }}
{% endmacro %}

{#- The continuous median (mean of the middle two) of an array without nulls. -#}
{% macro array_median(numbers) -%}
  {%- if target.type == 'bigquery' -%}
    (select percentile_cont(number, 0.5) over () from unnest({{ numbers }}) as number limit 1)
  {%- else -%}
    list_aggregate({{ numbers }}, 'quantile_cont', 0.5)
  {%- endif -%}
{%- endmacro %}

{#- A day as a number, so that window frames count days instead of rows. -#}
{% macro day_number(day) -%}
  {%- if target.type == 'bigquery' -%}unix_date({{ day }}){%- else -%}({{ day }} - date '1970-01-01'){%- endif -%}
{%- endmacro %}

{% macro add_days(day, count) -%}
  {%- if target.type == 'bigquery' -%}
    date_add({{ day }}, interval {{ count }} day)
  {%- else -%}
    ({{ day }} + {{ count }})
  {%- endif -%}
{%- endmacro %}

{#- A table expression: one row per day from first to last, both included, in the column `name`. -#}
{% macro days_in_range(first, last, name) -%}
  {%- if target.type == 'bigquery' -%}
    unnest(generate_date_array({{ first }}, {{ last }})) as {{ name }}
  {%- else -%}
    unnest(generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval 1 day)) as days ({{ name }})
  {%- endif -%}
{%- endmacro %}

{% macro add_minutes(instant, count) -%}
  {%- if target.type == 'bigquery' -%}
    timestamp_add({{ instant }}, interval {{ count }} minute)
  {%- else -%}
    ({{ instant }} + {{ count }} * interval 1 minute)
  {%- endif -%}
{%- endmacro %}

{#- A table expression: the starts of the steps of a UTC day, `minutes` apart, in the column `name`. -#}
{% macro steps_of_day(day, minutes, name) -%}
  {%- if target.type == 'bigquery' -%}
    unnest(generate_timestamp_array(timestamp({{ day }}), timestamp_add(timestamp({{ day }}), interval {{ 1440 - minutes }} minute), interval {{ minutes }} minute)) as {{ name }}
  {%- else -%}
    unnest(generate_series(cast({{ day }} as timestamptz), cast({{ day }} as timestamptz) + interval {{ 1440 - minutes }} minutes, interval {{ minutes }} minutes)) as steps ({{ name }})
  {%- endif -%}
{%- endmacro %}

{#- A table expression: the integers from 0 to count - 1, in the column `name`. -#}
{% macro numbers_below(count, name) -%}
  {%- if target.type == 'bigquery' -%}
    unnest(generate_array(0, {{ count - 1 }})) as {{ name }}
  {%- else -%}
    unnest(range({{ count }})) as numbers ({{ name }})
  {%- endif -%}
{%- endmacro %}

{#- The start of the step of `minutes` that contains an instant. Steps are aligned to UTC. -#}
{% macro step_of(instant, minutes) -%}
  {%- if target.type == 'bigquery' -%}
    timestamp_micros(div(unix_micros({{ instant }}), {{ 60000000 * minutes }}) * {{ 60000000 * minutes }})
  {%- else -%}
    make_timestamptz(epoch_us({{ instant }}) // {{ 60000000 * minutes }} * {{ 60000000 * minutes }})
  {%- endif -%}
{%- endmacro %}

{#- The local time in the rules' time zone, as a timestamp without a zone. -#}
{% macro local_time(instant) -%}
  {%- if target.type == 'bigquery' -%}
    datetime({{ instant }}, '{{ var('rules_timezone') }}')
  {%- else -%}
    ({{ instant }} at time zone '{{ var('rules_timezone') }}')
  {%- endif -%}
{%- endmacro %}

{% macro minute_of_day(time) -%}
  (60 * extract(hour from {{ time }}) + extract(minute from {{ time }}))
{%- endmacro %}

{#- An integer of the type in the contracts. DuckDB sums and counts conditions in 128 bits. -#}
{% macro as_count(number) -%}
  cast({{ number }} as {{ 'int64' if target.type == 'bigquery' else 'bigint' }})
{%- endmacro %}

{% macro as_text(value) -%}
  cast({{ value }} as {{ 'string' if target.type == 'bigquery' else 'varchar' }})
{%- endmacro %}

{#- An integer of 4 bytes, enough for the counts of a step: with 8 bytes the windows over three million steps would not
    fit into memory. BigQuery has only one width. -#}
{% macro as_small_count(number) -%}
  cast({{ number }} as {{ 'int64' if target.type == 'bigquery' else 'integer' }})
{%- endmacro %}

{#- The `count` newest values of an array that is ordered newest first, sorted ascending. -#}
{% macro sorted_newest(numbers, count) -%}
  {%- if target.type == 'bigquery' -%}
    array(select number from unnest({{ numbers }}) as number with offset as age where age < {{ count }} order by number)
  {%- else -%}
    list_sort(list_slice({{ numbers }}, 1, {{ count }}))
  {%- endif -%}
{%- endmacro %}

{#- The values of an array, sorted ascending. -#}
{% macro sorted_array(numbers) -%}
  {%- if target.type == 'bigquery' -%}
    array(select number from unnest({{ numbers }}) as number order by number)
  {%- else -%}
    list_sort({{ numbers }})
  {%- endif -%}
{%- endmacro %}

{#- The value at a 1-based position of an array; null if there is none. -#}
{% macro value_at(numbers, place) -%}
  {%- if target.type == 'bigquery' -%}
    {{ numbers }}[safe_ordinal({{ place }})]
  {%- else -%}
    {{ numbers }}[greatest({{ place }}, 0)]
  {%- endif -%}
{%- endmacro %}

{% macro seconds_between(earlier, later) -%}
  {%- if target.type == 'bigquery' -%}
    timestamp_diff({{ later }}, {{ earlier }}, second)
  {%- else -%}
    cast(epoch({{ later }} - {{ earlier }}) as bigint)
  {%- endif -%}
{%- endmacro %}

{#- Integer division. -#}
{% macro integer_divide(number, by) -%}
  {%- if target.type == 'bigquery' -%}div({{ number }}, {{ by }}){%- else -%}(({{ number }}) // {{ by }}){%- endif -%}
{%- endmacro %}
