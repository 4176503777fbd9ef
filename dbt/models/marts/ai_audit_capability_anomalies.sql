with daily_counts as (
    select
        date,
        capability,
        interaction_count,
        {{ day_number('date') }} as day_number
    from {{ ref('ai_audit_capability_stats') }}
    where date >= {{ add_days(first_dense_day(), -7 * var('like_day_weeks')) }}
),

-- Frames are ranges of days, not of rows: days are missing where a silent capability left the calendar.
trailing_counts as (
    select
        date,
        capability,
        interaction_count,
        count(*) over week as days_7d,
        array_agg(interaction_count) over week as counts_7d,
        array_agg(interaction_count) over fortnight as counts_14d,
        avg(interaction_count) over week as mean_7d,
        stddev_samp(interaction_count) over week as stddev_7d,
        count(nullif(interaction_count, 0)) over like_days as like_day_count,
        array_agg(nullif(interaction_count, 0)) over like_days as like_counts
    from daily_counts
    window
        week as (partition by capability order by day_number range between 7 preceding and 1 preceding),
        fortnight as (partition by capability order by day_number range between 14 preceding and 1 preceding),
        like_days as (
            partition by capability, mod(day_number, 7)
            order by day_number
            range between {{ 7 * var('like_day_weeks') }} preceding and 1 preceding
        )
),

baselines as (
    select
        date,
        capability,
        interaction_count,
        {{ array_median('counts_7d') }} as median_7d,
        {{ array_median('counts_14d') }} as median_14d,
        mean_7d,
        stddev_7d,
        case when days_7d = 7 then (interaction_count - mean_7d) / nullif(stddev_7d, 0) end as z_score,
        case when like_day_count >= {{ var('like_day_minimum') }} then {{ array_median('like_counts') }} end
            as like_day_median,
        like_day_count,
        case
            when days_7d < 7 then 'insufficient_history'
            when date >= {{ running_day() }} then 'incomplete_day'
            else 'ok'
        end as evaluation_status
    from trailing_counts
    where date >= {{ first_dense_day() }}
),

deviations as (
    select
        *,
        case
            when interaction_count > median_7d * {{ var('spike_ratio') }} then 'spike'
            when date >= {{ running_day() }} then 'normal'
            when interaction_count < median_7d * {{ var('drop_ratio') }} then 'drop'
            else 'normal'
        end as deviation_state
    from baselines
),

deviations_with_severity as (
    select
        *,
        case
            when deviation_state = 'normal' then null
            {%- for severity in ['high', 'medium'] %}
            {%- set reached = var('severity_' ~ severity) %}
            when
                evaluation_status != 'insufficient_history'
                and greatest(interaction_count, median_7d) >= {{ reached.volume }}
                and (
                    (deviation_state = 'spike' and interaction_count >= median_7d * {{ reached.spike_ratio }})
                    or (deviation_state = 'drop' and interaction_count <= median_7d * {{ reached.drop_ratio }})
                )
                then '{{ severity }}'
            {%- endfor %}
            else 'low'
        end as severity
    from deviations
)

select
    date,
    capability,
    interaction_count,
    median_7d,
    median_14d,
    mean_7d,
    stddev_7d,
    z_score,
    like_day_median,
    like_day_count,
    100 * (interaction_count - median_7d) / nullif(median_7d, 0) as deviation_percent,
    deviation_state,
    evaluation_status,
    severity,
    concat(
        case
            when median_7d is null
                then concat({{ as_text('interaction_count') }}, ' interactions and no day before to compare with')
            else concat(
                {{ as_text('interaction_count') }},
                case deviation_state
                    when 'spike' then ' interactions, more than {{ var('spike_ratio') }} times the 7-day median of '
                    when 'drop' then ' interactions, fewer than {{ var('drop_ratio') }} times the 7-day median of '
                    else ' interactions against a 7-day median of '
                end,
                replace({{ as_text('median_7d') }}, '.0', '')
            )
        end,
        case evaluation_status
            when 'insufficient_history' then '; fewer than 7 days of history.'
            when 'incomplete_day' then '; the day is not over.'
            else '.'
        end
    ) as reason
from deviations_with_severity
