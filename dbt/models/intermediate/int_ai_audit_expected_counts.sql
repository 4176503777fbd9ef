-- Days are those of the rules' time zone. A step is compared with the same local time of day on the 14 days before. An
-- hour that a clock change skips is missing from its day; the second pass of an hour that it repeats is not compared.
-- Windows of hours end with the step and reach into the day before.
{%- set counts = ['interaction_count', 'success_count', 'error_count', 'unknown_count'] -%}
{%- set step = [
    'series', 'step_start', 'local_date', 'step_of_day', 'day_is_over', 'workspace_count'
] + counts -%}
{%- set day_number = day_number('local_date') -%}
{%- set steps_of_hour = 60 // var('step_minutes') -%}
{%- set hours = [1, 2, 6] -%}
{%- set days = range(1, 15) -%}
{%- set figures = step + [
    'day_median_14d', 'expected_count', 'last_active_step', 'expected_so_far', 'seconds_into_day', 'comparable_days',
    'count_1h', 'count_2h', 'count_6h', 'day_count', 'highest_step_2h', 'lowest_day', 'day_before_1h', 'week_before_2h'
] -%}
{%- set active = 'interaction_count > 0' -%}
{%- if not builds_everything() -%}
    {%- set active = active ~ ' or cast(step_start as date) < ' ~ first_dense_day() -%}
{%- endif -%}
{%- set silence_begins = 'case when ' ~ active ~ ' then expected_so_far end' -%}

-- Reads 31 days before the rebuilt ones: 14 days before each of the 14 days to compare with, one for windows that begin
-- the day before, and two because local days differ from UTC days.
with calendar_steps as (
    select
        environment,
        capability,
        step_start,
        local_date,
        step_of_day,
        day_is_over,
        interaction_count,
        success_count,
        error_count,
        unknown_count,
        workspace_count
    from {{ ref('int_ai_audit_calendar_steps') }}
    where date >= {{ add_days(first_dense_day(), -31) }}
),

-- A series is a number, and counts are 4 bytes wide, since millions of steps are sorted four times in 1 GB.
series_of_capabilities as (
    select
        environment,
        capability,
        {{ as_small_count('row_number() over (order by environment, capability)') }} as series
    from calendar_steps
    group by environment, capability
),

series_names as (
    select
        environment,
        'capability' as scope,
        capability,
        series
    from series_of_capabilities
    union all
    select
        environment,
        'total' as scope,
        'all' as capability,
        -min(series) as series
    from series_of_capabilities
    group by environment
),

steps as ( -- noqa: ST03
    select
        series_names.series,
        calendar_steps.step_start,
        calendar_steps.local_date,
        {{ as_small_count('calendar_steps.step_of_day') }} as step_of_day,
        calendar_steps.day_is_over,
        {%- for count in counts %}
        {{ as_small_count('calendar_steps.' ~ count) }} as {{ count }},
        {%- endfor %}
        {{ as_small_count('calendar_steps.workspace_count') }} as workspace_count
    from calendar_steps
    inner join series_names
        on calendar_steps.environment = series_names.environment and calendar_steps.capability = series_names.capability
    where series_names.scope = 'capability'
    union all
    select
        series_names.series,
        calendar_steps.step_start,
        calendar_steps.local_date,
        {{ as_small_count('calendar_steps.step_of_day') }} as step_of_day,
        calendar_steps.day_is_over,
        {%- for count in counts %}
        {{ as_small_count('sum(calendar_steps.' ~ count ~ ')') }} as {{ count }},
        {%- endfor %}
        {{ as_small_count('null') }} as workspace_count
    from calendar_steps
    inner join series_names on calendar_steps.environment = series_names.environment
    where series_names.scope = 'total'
    group by
        series_names.series,
        calendar_steps.step_start,
        calendar_steps.local_date,
        calendar_steps.step_of_day,
        calendar_steps.day_is_over
),

day_totals as (
    select
        series,
        local_date,
        min(step_start) as day_begins_at,
        sum(interaction_count) as day_total
    from steps
    group by series, local_date
),

earlier_day_totals as (
    select
        series,
        local_date,
        day_begins_at,
        coalesce(sum(day_total) over all_before, 0) as total_before,
        array_agg(day_total) over fortnight as totals_14d,
        count(*) over fortnight as days_14d
    from day_totals
    window
        all_before as (partition by series order by local_date rows between unbounded preceding and 1 preceding),
        fortnight as (partition by series order by {{ day_number }} range between 14 preceding and 1 preceding)
),

day_medians as (
    select
        series,
        local_date,
        day_begins_at,
        {{ as_small_count('total_before') }} as total_before,
        case when days_14d >= 7 then {{ array_median('totals_14d') }} end as day_median_14d
    from earlier_day_totals
),

-- Days are joined before the windows, where both sides are small, whichever of them is kept in memory.
steps_with_earlier_counts as (
    select
        {{ qualified_columns(step, 'steps') }},
        day_medians.total_before,
        day_medians.day_median_14d,
        {{ as_small_count(seconds_between('day_medians.day_begins_at', 'steps.step_start')) }} as seconds_into_day,
        {%- for day in days %}
        lag(steps.interaction_count, {{ day }}) over same_step as count_{{ day }},
        {%- endfor %}
        lag(steps.local_date) over same_step as compared_date
    from steps
    inner join day_medians on steps.series = day_medians.series and steps.local_date = day_medians.local_date
    window same_step as (partition by steps.series, steps.step_of_day order by steps.step_start)
),

expected_counts as (
    select
        {{ step | join(', ') }},
        total_before,
        day_median_14d,
        seconds_into_day,
        coalesce(compared_date = local_date, false) as is_repeated,
        case
            when compared_date < local_date
                then {{ array_median('[' ~ numbered('count_', days) | join(', ') ~ ']') }}
        end as expected_count
    from steps_with_earlier_counts
),

-- Sums of integer thousandths do not depend on the order or the first day of the summation.
trailing_counts as (
    select
        {{ step | join(', ') }},
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
    from expected_counts
    window
        {%- for hour in hours %}
        last_{{ hour }}h as (
            partition by series
            order by step_start rows between {{ hour * steps_of_hour - 1 }} preceding and current row
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
        {%- for hour in hours %}
        {{ sorted_newest('[' ~ numbered('count_' ~ hour ~ 'h_', days) | join(', ') ~ ']', 'comparable_days') }}
            as earlier_{{ hour }}h,
        {%- endfor %}
        {{ figures | join(', ') }}
    from comparable_counts
    {%- if not builds_everything() %}
    where cast(step_start as date) >= {{ add_days(first_dense_day(), -17) }}
    {%- endif %}
),

usual_counts as (
    select
        {{ figures | join(', ') }},
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

-- A silence starts after the newest step with calls: expectations up to it do not count. What was expected before the
-- rebuilt days comes from the table's rows of the day before.
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

extremes as (
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
),

-- The state of each series at the end of the day before: its silence may have begun before the days that are read.
previous_state as (
    {% if not builds_everything() %}
    select
        series_names.series,
        previous.last_interaction_at,
        previous.expected_since_last
    from {{ this }} as previous
    inner join series_names
        on
            previous.environment = series_names.environment
            and previous.scope = series_names.scope
            and previous.capability = series_names.capability
    where
        previous.date = {{ add_days(first_dense_day(), -1) }}
        and previous.step_start = (
            select max(step_start)
            from {{ this }}
            where date = {{ add_days(first_dense_day(), -1) }}
        )
    union all
    {% endif %}
    -- No rows: a build of everything has no day before it.
    select
        series,
        last_active_step as last_interaction_at,
        expected_count as expected_since_last
    from ratios
    where false
)

select
    cast(ratios.step_start as date) as date,
    series_names.scope,
    series_names.capability,
    ratios.step_start,
    series_names.environment,
    {%- for figure in counts + ['workspace_count'] %}
    {{ as_count('ratios.' ~ figure) }} as {{ figure }},
    {%- endfor %}
    ratios.local_date,
    {{ as_count('ratios.step_of_day') }} as step_of_day,
    ratios.day_is_over,
    {{ as_count('ratios.day_count') }} as day_count,
    {{ as_count('ratios.seconds_into_day') }} as seconds_into_day,
    ratios.day_median_14d,
    {{ as_count('ratios.comparable_days') }} as comparable_days,
    coalesce(ratios.last_active_step, previous_state.last_interaction_at) as last_interaction_at,
    ratios.expected_count,
    ratios.silent_thousandths / 1000 + case
        when ratios.last_active_step is null or cast(ratios.last_active_step as date) < {{ first_dense_day() }}
            then coalesce(previous_state.expected_since_last, 0)
        else 0
    end as expected_since_last,
    {%- for rolling in ['count_1h', 'count_2h', 'count_6h', 'highest_step_2h'] %}
    {{ as_count('ratios.' ~ rolling) }} as {{ rolling }},
    {%- endfor %}
    ratios.usual_1h,
    ratios.usual_2h,
    ratios.usual_6h,
    {%- for earlier in [
        'lowest_2h', 'lowest_day', 'lowest_2nd_1h', 'lowest_3rd_1h', 'lowest_2nd_2h', 'lowest_3rd_6h', 'highest_1h',
        'highest_2nd_1h', 'highest_6h', 'day_before_1h', 'week_before_2h'
    ] %}
    {{ as_count('ratios.' ~ earlier) }} as {{ earlier }},
    {%- endfor %}
    ratios.ratio_2h,
    ratios.ratio_6h,
    ratios.low_share_6h,
    {%- for peak in ['peak_1h', 'peak_2nd_1h', 'peak_2nd_2h', 'peak_2nd_6h'] %}
    {{ as_count('extremes.' ~ peak) }} as {{ peak }},
    {%- endfor %}
    extremes.low_ratio_2nd_2h,
    extremes.low_ratio_2nd_6h
from ratios
inner join series_names on ratios.series = series_names.series
inner join extremes on ratios.series = extremes.series and ratios.local_date = extremes.local_date
left join previous_state on ratios.series = previous_state.series
where cast(ratios.step_start as date) >= {{ first_dense_day() }}
