{#- Everything in which DuckDB and BigQuery differ: `default__` is DuckDB's form. -#}

{% macro timestamp_literal(text) -%}{{ adapter.dispatch('timestamp_literal')(text) }}{%- endmacro %}
{% macro default__timestamp_literal(text) -%}timestamptz '{{ text }}+00'{%- endmacro %}
{% macro bigquery__timestamp_literal(text) -%}timestamp '{{ text }}+00'{%- endmacro %}

{#- Text without surrounding whitespace; null if nothing is left. -#}
{% macro trimmed(text) -%}{{ adapter.dispatch('trimmed')(text) }}{%- endmacro %}

{% macro default__trimmed(text) -%}
  nullif(trim({{ text }}, ' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || chr(160)), '')
{%- endmacro %}

{% macro bigquery__trimmed(text) -%}
  nullif(trim({{ text }}, ' \t\n\v\f\r' || chr(160)), '')
{%- endmacro %}

{#- The first group of a regular expression in a text. Without a match it is null, on DuckDB the empty text. -#}
{% macro regexp_first_group(text, pattern) -%}{{ adapter.dispatch('regexp_first_group')(text, pattern) }}{%- endmacro %}
{% macro default__regexp_first_group(text, pattern) -%}regexp_extract({{ text }}, '{{ pattern }}', 1){%- endmacro %}
{% macro bigquery__regexp_first_group(text, pattern) -%}regexp_extract({{ text }}, '{{ pattern }}'){%- endmacro %}

{#- A number from text, or null, also for infinity and NaN. Only DuckDB would accept 1_000, and only BigQuery 0x10. -#}
{% macro safe_float(text) -%}{{ adapter.dispatch('safe_float')(text) }}{%- endmacro %}

{% macro default__safe_float(text) -%}
  case
    when isfinite(try_cast({{ text }} as double)) and not contains({{ text }}, '_') then try_cast({{ text }} as double)
  end
{%- endmacro %}

{% macro bigquery__safe_float(text) -%}
  if(is_inf(safe_cast({{ text }} as float64)) or is_nan(safe_cast({{ text }} as float64)) or lower({{ text }}) like '%x%', null, safe_cast({{ text }} as float64))
{%- endmacro %}

{#- An integer from text, or null. -#}
{% macro safe_integer(text) -%}{{ adapter.dispatch('safe_integer')(text) }}{%- endmacro %}
{% macro default__safe_integer(text) -%}try_cast({{ text }} as bigint){%- endmacro %}
{% macro bigquery__safe_integer(text) -%}safe_cast({{ text }} as int64){%- endmacro %}

{#- A non-negative integer from trimmed text, or null. Digits are never cast to a double, which is exact only to 2^53; a
    number with an exponent (1e3) is, and becomes null beyond that. -#}
{% macro safe_count(text) -%}
  case
    when nullif(regexp_extract({{ text }}, '^[+]?[0-9]+(?:[.]0*)?$'), '') is not null
      then {{ safe_integer("regexp_extract(" ~ text ~ ", '[0-9]+')") }}
    when
      {{ safe_float(text) }} between 0 and 9007199254740991 and floor({{ safe_float(text) }}) = {{ safe_float(text) }}
      and lower({{ text }}) like '%e%'
      then {{ as_count(safe_float(text)) }}
  end
{%- endmacro %}

{#- The length of a JSON list given as text; null for anything else. -#}
{% macro json_list_length(text) -%}{{ adapter.dispatch('json_list_length')(text) }}{%- endmacro %}

{% macro default__json_list_length(text) -%}
  cast(case when json_valid({{ text }}) then case when json_type({{ text }}) = 'ARRAY' then json_array_length({{ text }}) end end as bigint)
{%- endmacro %}

{% macro bigquery__json_list_length(text) -%}
  array_length(json_query_array(safe.parse_json({{ text }}, wide_number_mode => 'round'), '$'))
{%- endmacro %}

{#- Discrete percentiles of a group, computed once; latency_percentile picks one. An exact percentile is an observed
    value, the ceil(p × n)-th. DuckDB keeps the four values; BigQuery keeps the sorted group, up to about ten million
    events. For more, set the variable `percentiles` to `sketch`: BigQuery then returns a value of about that rank, in
    constant memory. -#}
{% macro latency_percentiles(number) -%}{{ adapter.dispatch('latency_percentiles')(number) }}{%- endmacro %}

{% macro default__latency_percentiles(number) -%}
  quantile_disc({{ number }}, [0.5, 0.9, 0.95, 0.99])
{%- endmacro %}

{% macro bigquery__latency_percentiles(number) -%}
  {%- if sketches_percentiles() -%}
    approx_quantiles({{ number }}, 100)
  {%- else -%}
    array_agg({{ number }} ignore nulls order by {{ number }})
  {%- endif -%}
{%- endmacro %}

{% macro latency_percentile(percentiles, percent) -%}
  {{ adapter.dispatch('latency_percentile')(percentiles, percent) }}
{%- endmacro %}

{% macro default__latency_percentile(percentiles, percent) -%}
  {{ percentiles }}[{{ [50, 90, 95, 99].index(percent) + 1 }}]
{%- endmacro %}

{% macro bigquery__latency_percentile(percentiles, percent) -%}
  {%- if sketches_percentiles() -%}
    {{ percentiles }}[safe_offset({{ percent }})]
  {%- else -%}
    {{ percentiles }}[safe_offset(div({{ percent }} * array_length({{ percentiles }}) + 99, 100) - 1)]
  {%- endif -%}
{%- endmacro %}

{#- Whether percentiles are sketches. -#}
{% macro sketches_percentiles() %}{{ return(adapter.dispatch('sketches_percentiles')()) }}{% endmacro %}
{% macro default__sketches_percentiles() %}{{ return(false) }}{% endmacro %}

{% macro bigquery__sketches_percentiles() %}
  {%- if var('percentiles') not in ['exact', 'sketch'] -%}
    {{ exceptions.raise_compiler_error("percentiles: '" ~ var('percentiles') ~ "' is neither exact nor sketch") }}
  {%- endif -%}
  {{ return(var('percentiles') == 'sketch') }}
{% endmacro %}

{#- The continuous median (mean of the middle two) of an array without nulls. -#}
{% macro array_median(numbers) -%}{{ adapter.dispatch('array_median')(numbers) }}{%- endmacro %}
{% macro default__array_median(numbers) -%}list_aggregate({{ numbers }}, 'quantile_cont', 0.5){%- endmacro %}

{% macro bigquery__array_median(numbers) -%}
  (select percentile_cont(number, 0.5) over () from unnest({{ numbers }}) as number limit 1)
{%- endmacro %}

{#- A day as a number, so that window frames count days instead of rows. -#}
{% macro day_number(day) -%}{{ adapter.dispatch('day_number')(day) }}{%- endmacro %}
{% macro default__day_number(day) -%}({{ day }} - date '1970-01-01'){%- endmacro %}
{% macro bigquery__day_number(day) -%}unix_date({{ day }}){%- endmacro %}

{#- A DATE some days later. dbt's own `dateadd` returns a timestamp on DuckDB. -#}
{% macro add_days(day, count) -%}{{ adapter.dispatch('add_days')(day, count) }}{%- endmacro %}
{% macro default__add_days(day, count) -%}({{ day }} + {{ count }}){%- endmacro %}
{% macro bigquery__add_days(day, count) -%}date_add({{ day }}, interval {{ count }} day){%- endmacro %}

{#- A table expression: one row per day from first to last, both included, in the column `name`. -#}
{% macro date_spine(first, last, name) -%}{{ adapter.dispatch('date_spine')(first, last, name) }}{%- endmacro %}

{% macro default__date_spine(first, last, name) -%}
  unnest(generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval 1 day)) as days ({{ name }})
{%- endmacro %}

{% macro bigquery__date_spine(first, last, name) -%}
  unnest(generate_date_array({{ first }}, {{ last }})) as {{ name }}
{%- endmacro %}

{% macro add_minutes(instant, count) -%}{{ adapter.dispatch('add_minutes')(instant, count) }}{%- endmacro %}
{% macro default__add_minutes(instant, count) -%}({{ instant }} + {{ count }} * interval 1 minute){%- endmacro %}

{% macro bigquery__add_minutes(instant, count) -%}
  timestamp_add({{ instant }}, interval {{ count }} minute)
{%- endmacro %}

{#- A table expression: the starts of the steps of a UTC day, `minutes` apart, in the column `name`. -#}
{% macro steps_of_day(day, minutes, name) -%}{{ adapter.dispatch('steps_of_day')(day, minutes, name) }}{%- endmacro %}

{% macro default__steps_of_day(day, minutes, name) -%}
  unnest(generate_series(cast({{ day }} as timestamptz), cast({{ day }} as timestamptz) + interval {{ 1440 - minutes }} minutes, interval {{ minutes }} minutes)) as steps ({{ name }})
{%- endmacro %}

{% macro bigquery__steps_of_day(day, minutes, name) -%}
  unnest(generate_timestamp_array(timestamp({{ day }}), timestamp_add(timestamp({{ day }}), interval {{ 1440 - minutes }} minute), interval {{ minutes }} minute)) as {{ name }}
{%- endmacro %}

{#- A table expression: the integers from 0 to count - 1, in the column `name`. -#}
{% macro numbers_below(count, name) -%}{{ adapter.dispatch('numbers_below')(count, name) }}{%- endmacro %}
{% macro default__numbers_below(count, name) -%}unnest(range({{ count }})) as numbers ({{ name }}){%- endmacro %}

{% macro bigquery__numbers_below(count, name) -%}
  unnest(generate_array(0, {{ count - 1 }})) as {{ name }}
{%- endmacro %}

{#- The start of the step of `minutes` that contains an instant. Steps are aligned to UTC. -#}
{% macro time_bucket(instant, minutes) -%}{{ adapter.dispatch('time_bucket')(instant, minutes) }}{%- endmacro %}

{% macro default__time_bucket(instant, minutes) -%}
  make_timestamptz(epoch_us({{ instant }}) // {{ 60000000 * minutes }} * {{ 60000000 * minutes }})
{%- endmacro %}

{% macro bigquery__time_bucket(instant, minutes) -%}
  timestamp_micros(div(unix_micros({{ instant }}), {{ 60000000 * minutes }}) * {{ 60000000 * minutes }})
{%- endmacro %}

{#- The local time in the rules' time zone, as a timestamp without a zone. -#}
{% macro local_time(instant) -%}{{ adapter.dispatch('local_time')(instant) }}{%- endmacro %}
{% macro default__local_time(instant) -%}({{ instant }} at time zone '{{ var('rules_timezone') }}'){%- endmacro %}
{% macro bigquery__local_time(instant) -%}datetime({{ instant }}, '{{ var('rules_timezone') }}'){%- endmacro %}

{% macro minute_of_day(time) -%}
  (60 * extract(hour from {{ time }}) + extract(minute from {{ time }}))
{%- endmacro %}

{#- An integer of the type in the contracts. DuckDB sums and counts conditions in 128 bits. -#}
{% macro as_count(number) -%}{{ adapter.dispatch('as_count')(number) }}{%- endmacro %}
{% macro default__as_count(number) -%}cast({{ number }} as bigint){%- endmacro %}
{% macro bigquery__as_count(number) -%}cast({{ number }} as int64){%- endmacro %}

{% macro as_text(value) -%}cast({{ value }} as {{ dbt.type_string() }}){%- endmacro %}

{#- An integer of 4 bytes, enough for the counts of a step: with 8 bytes the windows over three million steps would not
    fit into memory. BigQuery has only one width. -#}
{% macro as_small_count(number) -%}cast({{ number }} as {{ dbt.type_int() }}){%- endmacro %}

{#- The `count` newest values of an array that is ordered newest first, sorted ascending. -#}
{% macro sorted_newest(numbers, count) -%}{{ adapter.dispatch('sorted_newest')(numbers, count) }}{%- endmacro %}
{% macro default__sorted_newest(numbers, count) -%}list_sort(list_slice({{ numbers }}, 1, {{ count }})){%- endmacro %}

{% macro bigquery__sorted_newest(numbers, count) -%}
  array(select number from unnest({{ numbers }}) as number with offset as age where age < {{ count }} order by number)
{%- endmacro %}

{#- The values of an array, sorted ascending. -#}
{% macro sorted_array(numbers) -%}{{ adapter.dispatch('sorted_array')(numbers) }}{%- endmacro %}
{% macro default__sorted_array(numbers) -%}list_sort({{ numbers }}){%- endmacro %}

{% macro bigquery__sorted_array(numbers) -%}
  array(select number from unnest({{ numbers }}) as number order by number)
{%- endmacro %}

{#- The value at a 1-based position of an array; null if there is none. -#}
{% macro value_at(numbers, place) -%}{{ adapter.dispatch('value_at')(numbers, place) }}{%- endmacro %}
{% macro default__value_at(numbers, place) -%}{{ numbers }}[greatest({{ place }}, 0)]{%- endmacro %}
{% macro bigquery__value_at(numbers, place) -%}{{ numbers }}[safe_ordinal({{ place }})]{%- endmacro %}

{% macro seconds_between(earlier, later) -%}{{ adapter.dispatch('seconds_between')(earlier, later) }}{%- endmacro %}
{% macro default__seconds_between(earlier, later) -%}cast(epoch({{ later }} - {{ earlier }}) as bigint){%- endmacro %}
{% macro bigquery__seconds_between(earlier, later) -%}timestamp_diff({{ later }}, {{ earlier }}, second){%- endmacro %}

{#- Integer division. -#}
{% macro integer_divide(number, by) -%}{{ adapter.dispatch('integer_divide')(number, by) }}{%- endmacro %}
{% macro default__integer_divide(number, by) -%}(({{ number }}) // {{ by }}){%- endmacro %}
{% macro bigquery__integer_divide(number, by) -%}div({{ number }}, {{ by }}){%- endmacro %}

{#- Every column of the relation that is selected from, but these. dbt_utils' macro of this name queries the relation. -#}
{% macro star(except) -%}{{ adapter.dispatch('star')(except) }}{%- endmacro %}
{% macro default__star(except) -%}* exclude ({{ except | join(', ') }}){%- endmacro %}
{% macro bigquery__star(except) -%}* except ({{ except | join(', ') }}){%- endmacro %}
