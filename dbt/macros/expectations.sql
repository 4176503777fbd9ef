{#- The expected counts of a step, computed from earlier days only. The same SQL serves a single capability and all
    together, live and in a backtest.

    A table expression over two CTEs: dense counts per step (series, step_start, local_date, step_of_day,
    interaction_count and the columns of `carried`), and the names of the series (series and the key columns). A series
    is a number here and counts are 4 bytes wide, since millions of steps are sorted four times in 1 GB.

    Days are those of the rules' time zone. A step is compared with the same local time of day on the 14 days before. An
    hour that a clock change skips is missing from its day; the second pass of an hour that it repeats is not compared.
    Windows of hours end with the step and reach into the day before. -#}

{#- The number of UTC days to read before the first rebuilt one: 14 days before each of the 14 days to compare with, one
    for windows that begin the day before, and two because local days differ from UTC days. -#}
{% macro expectation_days() %}{{ return(31) }}{% endmacro %}

{% macro with_expectations(steps, series, keys, carried) %}
  {%- set own = ['series', 'step_start', 'local_date', 'step_of_day', 'interaction_count'] + carried -%}
  {%- set day_number = day_number('local_date') -%}
  {%- set steps_of_hour = 60 // var('step_minutes') -%}
  {%- set hours = [1, 2, 6] -%}
  {%- set days = range(1, 15) -%}
  {%- set kept = own + [
    'day_median_14d', 'expected_count', 'last_active_step', 'expected_so_far', 'seconds_into_day', 'comparable_days',
    'count_1h', 'count_2h', 'count_6h', 'day_count', 'highest_step_2h', 'lowest_day', 'day_before_1h', 'week_before_2h'
  ] -%}
  {%- set whole = [
    'seconds_into_day', 'comparable_days', 'count_1h', 'count_2h', 'count_6h', 'day_count', 'highest_step_2h',
    'lowest_day', 'day_before_1h', 'week_before_2h', 'lowest_2nd_1h', 'lowest_3rd_1h', 'highest_1h', 'highest_2nd_1h',
    'lowest_2h', 'lowest_2nd_2h', 'lowest_3rd_6h', 'highest_6h'
  ] -%}
  {#- A silence starts after the newest step with calls: expectations up to it do not count. What was expected before
      the rebuilt days comes from the table's rows of the day before. -#}
  {%- set active = 'interaction_count > 0' -%}
  {%- if not builds_everything() -%}
    {%- set active = active ~ ' or cast(step_start as date) < ' ~ first_dense_day() -%}
  {%- endif -%}
  {%- set silence_begins = 'case when ' ~ active ~ ' then expected_so_far end' -%}
(
with days as (
    select
        series,
        local_date,
        min(step_start) as day_begins_at,
        sum(interaction_count) as day_total
    from {{ steps }}
    group by series, local_date
),

days_before as (
    select
        series,
        local_date,
        day_begins_at,
        coalesce(sum(day_total) over all_before, 0) as total_before,
        array_agg(day_total) over fortnight as totals_14d,
        count(*) over fortnight as days_14d
    from days
    window
        all_before as (partition by series order by local_date rows between unbounded preceding and 1 preceding),
        fortnight as (partition by series order by {{ day_number }} range between 14 preceding and 1 preceding)
),

usual_days as (
    select
        series,
        local_date,
        day_begins_at,
        {{ as_small_count('total_before') }} as total_before,
        case when days_14d >= 7 then {{ array_median('totals_14d') }} end as day_median_14d
    from days_before
),

-- Days are joined before the windows, where both sides are small, whichever of them is kept in memory.
comparison_steps as (
    select
        {{ qualified_columns(own, 'steps') }},
        usual_days.total_before,
        usual_days.day_median_14d,
        {{ as_small_count(seconds_between('usual_days.day_begins_at', 'steps.step_start')) }} as seconds_into_day,
        lag(steps.local_date) over same_step as compared_date,
        {%- for day in days %}
        lag(steps.interaction_count, {{ day }}) over same_step as count_{{ day }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ steps }} as steps
    inner join usual_days on steps.series = usual_days.series and steps.local_date = usual_days.local_date
    window same_step as (partition by steps.series, steps.step_of_day order by steps.step_start)
),

expected as (
    select
        {{ own | join(', ') }},
        total_before,
        day_median_14d,
        seconds_into_day,
        coalesce(compared_date = local_date, false) as is_repeated,
        case
            when compared_date < local_date
                then {{ array_median('[' ~ numbered('count_', days) | join(', ') ~ ']') }}
        end as expected_count
    from comparison_steps
),

-- Sums of integer thousandths do not depend on the order or the first day of the summation.
trailing_counts as (
    select
        {{ own | join(', ') }},
        day_median_14d,
        seconds_into_day,
        is_repeated,
        expected_count,
        {%- for hour in hours %}
        {{ as_small_count('sum(interaction_count) over last_' ~ hour ~ 'h') }} as count_{{ hour }}h,
        {%- endfor %}
        max(interaction_count) over last_2h as highest_step_2h,
        {{ as_small_count('sum(interaction_count) over so_far - total_before') }} as day_count,
        max(case when interaction_count > 0 then step_start end) over so_far as last_active_step,
        sum(round(1000 * coalesce(expected_count, 0))) over so_far as expected_so_far
    from expected
    window
        {%- for hour in hours %}
        last_{{ hour }}h as (
            partition by series order by step_start rows between {{ hour * steps_of_hour - 1 }} preceding and current row
        ),
        {%- endfor %}
        so_far as (partition by series order by step_start rows unbounded preceding)
),

comparable_counts as (
    select
        *,
        {%- for hour in hours %}
        {%- for day in days %}
        lag(count_{{ hour }}h, {{ day }}) over by_day as count_{{ hour }}h_{{ day }},
        {%- endfor %}
        {%- endfor %}
        case
            when is_repeated then 0
            else least(14, {{ as_small_count('count(case when not is_repeated then step_start end) over same_step') }})
        end as comparable_days,
        min(day_count) over same_step as lowest_day,
        max(count_1h) over day_before as day_before_1h,
        max(count_2h) over week_before as week_before_2h
    from trailing_counts
    window
        same_step as (
            partition by series, step_of_day order by {{ day_number }} range between 14 preceding and 1 preceding
        ),
        day_before as (
            partition by series, step_of_day order by {{ day_number }} range between 1 preceding and 1 preceding
        ),
        week_before as (
            partition by series, step_of_day order by {{ day_number }} range between 7 preceding and 7 preceding
        ),
        by_day as (partition by series, step_of_day order by step_start)
),

sorted_counts as (
    select
        {{ kept | join(', ') }},
        {%- for hour in hours %}
        {{ sorted_newest('[' ~ numbered('count_' ~ hour ~ 'h_', days) | join(', ') ~ ']', 'comparable_days') }}
            as earlier_{{ hour }}h{{ ',' if not loop.last }}
        {%- endfor %}
    from comparable_counts
    {%- if not builds_everything() %}
    where cast(step_start as date) >= {{ add_days(first_dense_day(), -17) }}
    {%- endif %}
),

usual_counts as (
    select
        {{ kept | join(', ') }},
        {%- for hour in hours %}
        {%- set earlier = 'earlier_' ~ hour ~ 'h' %}
        (
            {{ value_at(earlier, integer_divide('comparable_days + 1', 2)) }}
            + {{ value_at(earlier, integer_divide('comparable_days + 2', 2)) }}
        ) / 2 as usual_{{ hour }}h,
        {%- endfor %}
        {{ value_at('earlier_1h', 2) }} as lowest_2nd_1h,
        {{ value_at('earlier_1h', 3) }} as lowest_3rd_1h,
        {{ value_at('earlier_1h', 'comparable_days') }} as highest_1h,
        {{ value_at('earlier_1h', 'comparable_days - 1') }} as highest_2nd_1h,
        {{ value_at('earlier_2h', 1) }} as lowest_2h,
        {{ value_at('earlier_2h', 2) }} as lowest_2nd_2h,
        {{ value_at('earlier_6h', 3) }} as lowest_3rd_6h,
        {{ value_at('earlier_6h', 'comparable_days') }} as highest_6h
    from sorted_counts
),

ratios as (
    select
        *,
        case when comparable_days >= 3 then (count_2h + 3) / (usual_2h + 3) end as ratio_2h,
        case when comparable_days >= 3 then (count_6h + 3) / (usual_6h + 3) end as ratio_6h,
        avg(case when count_1h + 1 < 0.67 * (lowest_2nd_1h + 1) then 1.0 else 0.0 end) over last_6h as low_share_6h,
        expected_so_far - coalesce(max({{ silence_begins }}) over so_far, 0) as silent_thousandths
    from usual_counts
    window
        last_6h as (
            partition by series order by step_start rows between {{ 6 * steps_of_hour - 1 }} preceding and current row
        ),
        so_far as (partition by series order by step_start rows unbounded preceding)
),

day_extremes as (
    select
        series,
        local_date,
        {%- for hour in hours %}
        max(count_{{ hour }}h) as peak_{{ hour }}h,
        {%- endfor %}
        coalesce(min(ratio_2h), 1e9) as lowest_ratio_2h,
        coalesce(min(ratio_6h), 1e9) as lowest_ratio_6h
    from ratios
    group by series, local_date
),

earlier_extremes as (
    select
        series,
        local_date,
        count(*) over fortnight as day_count,
        {%- for hour in hours %}
        array_agg(peak_{{ hour }}h) over fortnight as peaks_{{ hour }}h,
        {%- endfor %}
        array_agg(lowest_ratio_2h) over fortnight as ratios_2h,
        array_agg(lowest_ratio_6h) over fortnight as ratios_6h
    from day_extremes
    window fortnight as (partition by series order by {{ day_number }} range between 14 preceding and 1 preceding)
),

sorted_extremes as (
    select
        series,
        local_date,
        day_count,
        {%- for hour in hours %}
        {{ sorted_array('peaks_' ~ hour ~ 'h') }} as peaks_{{ hour }}h,
        {%- endfor %}
        {{ sorted_array('ratios_2h') }} as ratios_2h,
        {{ sorted_array('ratios_6h') }} as ratios_6h
    from earlier_extremes
),

records as (
    select
        series,
        local_date,
        {{ value_at('peaks_1h', 'day_count') }} as peak_1h,
        {{ value_at('peaks_1h', 'day_count - 1') }} as peak_2nd_1h,
        {{ value_at('peaks_2h', 'day_count - 1') }} as peak_2nd_2h,
        {{ value_at('peaks_6h', 'day_count - 1') }} as peak_2nd_6h,
        {{ value_at('ratios_2h', 2) }} as low_ratio_2nd_2h,
        {{ value_at('ratios_6h', 2) }} as low_ratio_2nd_6h
    from sorted_extremes
)

{%- if not builds_everything() %},

-- The state of each series at the end of the day before: its silence may have begun before the days that are read.
previous_state as (
    select
        named.series,
        previous.last_interaction_at,
        previous.expected_since_last
    from {{ this }} as previous
    inner join {{ series }} as named on {{ join_condition(keys, 'previous', 'named') }}
    where
        previous.date = {{ add_days(first_dense_day(), -1) }}
        and previous.step_start = (
            select max(step_start) from {{ this }} where date = {{ add_days(first_dense_day(), -1) }}
        )
)
{%- endif %}

select
    cast(ratios.step_start as date) as date,
    {{ qualified_columns(keys, 'named') }},
    ratios.step_start,
    ratios.local_date,
    ratios.expected_count,
    ratios.day_median_14d,
    {%- for column in ['step_of_day', 'interaction_count'] + whole %}
    {{ as_count('ratios.' ~ column) }} as {{ column }},
    {%- endfor %}
    {{ qualified_columns(carried, 'ratios') }},
    {{ qualified_columns(['usual_1h', 'usual_2h', 'usual_6h', 'ratio_2h', 'ratio_6h', 'low_share_6h'], 'ratios') }},
    {%- for column in ['peak_1h', 'peak_2nd_1h', 'peak_2nd_2h', 'peak_2nd_6h'] %}
    {{ as_count('records.' ~ column) }} as {{ column }},
    {%- endfor %}
    records.low_ratio_2nd_2h,
    records.low_ratio_2nd_6h,
    {%- if builds_everything() %}
    ratios.last_active_step as last_interaction_at,
    ratios.silent_thousandths / 1000 as expected_since_last
    {%- else %}
    coalesce(ratios.last_active_step, previous_state.last_interaction_at) as last_interaction_at,
    ratios.silent_thousandths / 1000 + case
        when ratios.last_active_step is null or cast(ratios.last_active_step as date) < {{ first_dense_day() }}
            then coalesce(previous_state.expected_since_last, 0)
        else 0
    end as expected_since_last
    {%- endif %}
from ratios
inner join {{ series }} as named on ratios.series = named.series
inner join records on ratios.series = records.series and ratios.local_date = records.local_date
{%- if not builds_everything() %}
left join previous_state on ratios.series = previous_state.series
where cast(ratios.step_start as date) >= {{ first_dense_day() }}
{%- endif %}
)
{% endmacro %}

{% macro numbered(prefix, numbers) -%}
  {%- set names = [] -%}
  {%- for number in numbers %}{% do names.append(prefix ~ number) %}{% endfor -%}
  {{ return(names) }}
{%- endmacro %}
