{#- The expected counts of a grid equal a recount of the grid's own counts, by joins and ranks instead of windows and
    arrays. Checks the three newest days of the build and reads 17 days before each: the 14 local days to compare with,
    and a margin because local days differ from UTC days. `series` are the columns that identify a series. -#}
{% test expectations_match_recount(model, series) %}
{%- set hours = [1, 2, 6] -%}
{%- set steps_of_hour = 60 // var('step_minutes') -%}
{%- set key = series | join(', ') -%}
{%- set step_key = qualified_columns(series, 'evaluated') ~ ', evaluated.step_start' -%}
with steps as (
    select
        {{ key }},
        date,
        step_start,
        local_date,
        step_of_day,
        interaction_count,
        day_count,
        count_1h,
        count_2h,
        count_6h,
        ratio_2h,
        ratio_6h,
        comparable_days,
        expected_count,
        last_interaction_at,
        expected_since_last,
        lowest_2nd_1h
    from {{ model }}
    where {{ days_up_to_built(17, newest=3) }}
),

own as (
    select *
    from {{ model }}
    where {{ newest_built_days(3) }}
),

{#- Each row with the previous row of its series, and with running totals. -#}
running as (
    select
        {{ key }},
        date,
        step_start,
        cast({{ local_time('step_start') }} as date) as local_date,
        {{ as_count('floor(' ~ minute_of_day(local_time('step_start')) ~ ' / ' ~ var('step_minutes') ~ ')') }}
            as step_of_day,
        cast({{ local_time(add_minutes('step_start', var('step_minutes'))) }} as date)
        > cast({{ local_time('step_start') }} as date) as day_is_over,
        {%- for hour in hours %}
        {{ as_count('sum(interaction_count) over last_' ~ hour ~ 'h') }} as count_{{ hour }}h,
        {%- endfor %}
        max(interaction_count) over last_2h as highest_step_2h,
        {{ as_count('sum(interaction_count) over this_day') }} as day_count,
        {{ seconds_between('min(step_start) over this_day', 'step_start') }} as seconds_into_day,
        avg(case when lowest_2nd_1h + 1 > (count_1h + 1) / 0.67 then 1.0 else 0.0 end) over last_6h as low_share_6h,
        case when interaction_count > 0 then step_start else lag(last_interaction_at) over so_far end
            as last_interaction_at,
        case
            when interaction_count > 0 then 0
            else lag(expected_since_last) over so_far + round(1000 * coalesce(expected_count, 0)) / 1000
        end as expected_since_last
    from steps
    window
        {%- for hour in hours %}
        last_{{ hour }}h as (
            partition by {{ key }} order by step_start
            rows between {{ hour * steps_of_hour - 1 }} preceding and current row
        ),
        {%- endfor %}
        this_day as (
            partition by {{ key }}, local_date order by step_start rows between unbounded preceding and current row
        ),
        so_far as (partition by {{ key }} order by step_start)
),

evaluated as (
    select {{ key }}, step_start, local_date, step_of_day, comparable_days
    from steps
    where {{ newest_built_days(3) }}
),

earlier_steps as (
    select
        {{ step_key }},
        evaluated.comparable_days,
        {{ day_number('evaluated.local_date') }} - {{ day_number('earlier.local_date') }} as days_ago,
        earlier.local_date,
        earlier.interaction_count,
        earlier.day_count,
        {%- for hour in hours %}
        earlier.count_{{ hour }}h,
        {%- endfor %}
        row_number() over (partition by {{ step_key }} order by earlier.step_start desc) as newest
    from evaluated
    inner join steps as earlier
        on
            {{ join_condition(series, 'evaluated', 'earlier') }}
            and evaluated.step_of_day = earlier.step_of_day
            and earlier.local_date < evaluated.local_date
            and earlier.local_date >= {{ add_days('evaluated.local_date', -14) }}
),

ranked_steps as (
    select
        *,
        newest <= comparable_days as is_comparable,
        row_number() over (
            partition by {{ key }}, step_start, newest <= comparable_days order by interaction_count
        ) as rank_of_step,
        {%- for hour in hours %}
        row_number() over (
            partition by {{ key }}, step_start, newest <= comparable_days order by count_{{ hour }}h
        ) as rank_{{ hour }}h{{ ',' if not loop.last }}
        {%- endfor %}
    from earlier_steps
),

like_steps as (
    select
        {{ key }},
        step_start,
        count(distinct local_date) as day_count,
        min(day_count) as lowest_day,
        max(case when days_ago = 1 then count_1h end) as day_before_1h,
        max(case when days_ago = 7 then count_2h end) as week_before_2h,
        avg(
            case when is_comparable and comparable_days = 14 and rank_of_step in (7, 8) then interaction_count end
        ) as expected_count,
        {%- for hour in hours %}
        avg(
            case
                when
                    is_comparable
                    and rank_{{ hour }}h in (
                        {{ integer_divide('comparable_days + 1', 2) }}, {{ integer_divide('comparable_days + 2', 2) }}
                    )
                    then count_{{ hour }}h
            end
        ) as usual_{{ hour }}h,
        {%- endfor %}
        max(case when is_comparable and rank_1h = 2 then count_1h end) as lowest_2nd_1h,
        max(case when is_comparable and rank_1h = 3 then count_1h end) as lowest_3rd_1h,
        max(case when is_comparable and rank_1h = comparable_days then count_1h end) as highest_1h,
        max(case when is_comparable and rank_1h = comparable_days - 1 then count_1h end) as highest_2nd_1h,
        max(case when is_comparable and rank_2h = 1 then count_2h end) as lowest_2h,
        max(case when is_comparable and rank_2h = 2 then count_2h end) as lowest_2nd_2h,
        max(case when is_comparable and rank_6h = 3 then count_6h end) as lowest_3rd_6h,
        max(case when is_comparable and rank_6h = comparable_days then count_6h end) as highest_6h
    from ranked_steps
    group by {{ key }}, step_start
),

days as (
    select
        {{ key }},
        local_date,
        sum(interaction_count) as day_total,
        max(count_1h) as peak_1h,
        max(count_2h) as peak_2h,
        max(count_6h) as peak_6h,
        coalesce(min(ratio_2h), 1e9) as lowest_ratio_2h,
        coalesce(min(ratio_6h), 1e9) as lowest_ratio_6h
    from steps
    group by {{ key }}, local_date
),

evaluated_days as (
    select distinct {{ key }}, local_date
    from evaluated
),

earlier_days as (
    select
        {{ qualified_columns(series, 'evaluated') }},
        evaluated.local_date,
        earlier.day_total,
        earlier.peak_1h,
        count(*) over (partition by {{ qualified_columns(series, 'evaluated') }}, evaluated.local_date) as day_count,
        earlier.peak_2h,
        earlier.peak_6h,
        earlier.lowest_ratio_2h,
        earlier.lowest_ratio_6h,
        {%- for column, direction in {
            'day_total': '', 'peak_1h': ' desc', 'peak_2h': ' desc', 'peak_6h': ' desc',
            'lowest_ratio_2h': '', 'lowest_ratio_6h': ''
        }.items() %}
        row_number() over (
            partition by {{ qualified_columns(series, 'evaluated') }}, evaluated.local_date
            order by earlier.{{ column }}{{ direction }}
        ) as rank_of_{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from evaluated_days as evaluated
    inner join days as earlier
        on
            {{ join_condition(series, 'evaluated', 'earlier') }}
            and earlier.local_date < evaluated.local_date
            and earlier.local_date >= {{ add_days('evaluated.local_date', -14) }}
),

day_figures as (
    select
        {{ key }},
        local_date,
        avg(
            case
                when
                    day_count >= 7
                    and rank_of_day_total in (
                        {{ integer_divide('day_count + 1', 2) }}, {{ integer_divide('day_count + 2', 2) }}
                    )
                    then day_total
            end
        ) as day_median_14d,
        max(peak_1h) as peak_1h,
        max(case when rank_of_peak_1h = 2 then peak_1h end) as peak_2nd_1h,
        max(case when rank_of_peak_2h = 2 then peak_2h end) as peak_2nd_2h,
        max(case when rank_of_peak_6h = 2 then peak_6h end) as peak_2nd_6h,
        max(case when rank_of_lowest_ratio_2h = 2 then lowest_ratio_2h end) as low_ratio_2nd_2h,
        max(case when rank_of_lowest_ratio_6h = 2 then lowest_ratio_6h end) as low_ratio_2nd_6h
    from earlier_days
    group by {{ key }}, local_date
),

{#- The second pass of an hour that a clock change repeats is not compared. -#}
repeated as (
    select
        {{ key }},
        step_start,
        row_number() over (partition by {{ key }}, local_date, step_of_day order by step_start) > 1 as is_repeated
    from steps
),

recounted as (
    select
        {{ qualified_columns(series, 'own') }},
        own.step_start,
        running.local_date,
        running.step_of_day,
        running.day_is_over,
        running.day_count,
        running.seconds_into_day,
        running.count_1h,
        running.count_2h,
        running.count_6h,
        running.highest_step_2h,
        running.low_share_6h,
        running.last_interaction_at,
        running.expected_since_last,
        case when repeated.is_repeated then 0 else coalesce(like_steps.day_count, 0) end as comparable_days,
        case when own.comparable_days = 14 then like_steps.expected_count else own.expected_count end as expected_count,
        {%- for column in [
            'lowest_day', 'day_before_1h', 'week_before_2h', 'usual_1h', 'usual_2h', 'usual_6h', 'lowest_2nd_1h',
            'lowest_3rd_1h', 'highest_1h', 'highest_2nd_1h', 'lowest_2h', 'lowest_2nd_2h', 'lowest_3rd_6h', 'highest_6h'
        ] %}
        like_steps.{{ column }},
        {%- endfor %}
        case when own.comparable_days >= 3 then (own.count_2h + 3) / (own.usual_2h + 3) end as ratio_2h,
        case when own.comparable_days >= 3 then (own.count_6h + 3) / (own.usual_6h + 3) end as ratio_6h,
        day_figures.day_median_14d,
        day_figures.peak_1h,
        day_figures.peak_2nd_1h,
        day_figures.peak_2nd_2h,
        day_figures.peak_2nd_6h,
        day_figures.low_ratio_2nd_2h,
        day_figures.low_ratio_2nd_6h
    from own
    inner join running on {{ join_condition(series, 'own', 'running') }} and own.step_start = running.step_start
    inner join repeated on {{ join_condition(series, 'own', 'repeated') }} and own.step_start = repeated.step_start
    left join like_steps on {{ join_condition(series, 'own', 'like_steps') }} and own.step_start = like_steps.step_start
    left join day_figures
        on {{ join_condition(series, 'own', 'day_figures') }} and own.local_date = day_figures.local_date
)

{{ rows_that_differ(
    series + ['step_start'],
    exact=[
        'local_date', 'step_of_day', 'day_is_over', 'day_count', 'seconds_into_day', 'comparable_days',
        'last_interaction_at', 'count_1h', 'count_2h', 'count_6h', 'highest_step_2h', 'lowest_2h', 'lowest_day',
        'lowest_2nd_1h', 'lowest_3rd_1h', 'lowest_2nd_2h', 'lowest_3rd_6h', 'highest_1h', 'highest_2nd_1h', 'highest_6h',
        'day_before_1h', 'week_before_2h', 'peak_1h', 'peak_2nd_1h', 'peak_2nd_2h', 'peak_2nd_6h'
    ],
    approximate=[
        'day_median_14d', 'expected_count', 'expected_since_last', 'usual_1h', 'usual_2h', 'usual_6h', 'ratio_2h',
        'ratio_6h', 'low_share_6h', 'low_ratio_2nd_2h', 'low_ratio_2nd_6h'
    ]
) }}
{% endtest %}
