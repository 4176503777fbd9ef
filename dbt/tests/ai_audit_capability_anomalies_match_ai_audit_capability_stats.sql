{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_capability_anomalies'}}}) }}

-- Days of ai_audit_capability_anomalies whose comparison differs from a recount of ai_audit_capability_stats, by a join
-- of days and ranks instead of windows. In a full refresh or a long range only the newest 31 days.
with own as (
    select
        *,
        case
            when median_7d is null then 'no day before'
            when deviation_state = 'spike' then 'more than'
            when deviation_state = 'drop' then 'fewer than'
            else 'against'
        end as compared_as,
        case evaluation_status
            when 'insufficient_history' then 'fewer than 7 days of history.'
            when 'incomplete_day' then 'the day is not over.'
            else '.'
        end as ends_with
    from {{ ref('ai_audit_capability_anomalies') }}
    where {{ newest_built_days(31) }}
),

days as (
    select
        date,
        capability,
        interaction_count
    from {{ ref('ai_audit_capability_stats') }}
    where {{ days_up_to_built(7 * var('like_day_weeks'), newest=31) }}
),

evaluated as (
    select *
    from days
    where {{ newest_built_days(31) }}
),

earlier_days as (
    select
        evaluated.date,
        evaluated.capability,
        earlier.interaction_count,
        {{ day_number('evaluated.date') }} - {{ day_number('earlier.date') }} as days_ago
    from evaluated
    inner join days as earlier
        on
            evaluated.capability = earlier.capability
            and earlier.date < evaluated.date
            and earlier.date >= {{ add_days('evaluated.date', -7 * var('like_day_weeks')) }}
),

marked as (
    select
        *,
        days_ago <= 7 as is_of_week,
        days_ago <= 14 as is_of_fortnight,
        mod(days_ago, 7) = 0 and interaction_count > 0 as is_like_day
    from earlier_days
),

ranked as (
    select
        *,
        row_number() over (partition by capability, date, is_of_week order by interaction_count) as rank_7d,
        row_number() over (partition by capability, date, is_of_fortnight order by interaction_count) as rank_14d,
        row_number() over (partition by capability, date, is_like_day order by interaction_count) as rank_of_like_days,
        count(case when is_of_week then 1 end) over (partition by capability, date) as days_7d,
        count(case when is_of_fortnight then 1 end) over (partition by capability, date) as days_14d,
        count(case when is_like_day then 1 end) over (partition by capability, date) as like_day_count
    from marked
),

baselines as (
    select
        capability,
        date,
        max(days_7d) as days_7d,
        max(like_day_count) as like_day_count,
        avg(case when is_of_week then interaction_count end) as mean_7d,
        stddev_samp(case when is_of_week then interaction_count end) as stddev_7d,
        {%- for name, of, count, rank in [
            ('median_7d', 'is_of_week', 'days_7d', 'rank_7d'),
            ('median_14d', 'is_of_fortnight', 'days_14d', 'rank_14d'),
            ('like_day_median', 'is_like_day', 'like_day_count', 'rank_of_like_days')
        ] %}
        avg(
            case
                when
                    {{ of }}
                    and {{ rank }} in ({{ integer_divide(count ~ ' + 1', 2) }}, {{ integer_divide(count ~ ' + 2', 2) }})
                    then interaction_count
            end
        ) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from ranked
    group by capability, date
),

figures as (
    select
        evaluated.date,
        evaluated.capability,
        evaluated.interaction_count,
        evaluated.date >= {{ running_day() }} as is_running,
        coalesce(baselines.days_7d, 0) as days_7d,
        {{ as_count('coalesce(baselines.like_day_count, 0)') }} as like_day_count,
        baselines.mean_7d,
        baselines.stddev_7d,
        baselines.median_7d,
        baselines.median_14d,
        case when baselines.like_day_count >= {{ var('like_day_minimum') }} then baselines.like_day_median end
            as like_day_median,
        coalesce(evaluated.interaction_count > {{ var('spike_ratio') }} * baselines.median_7d, false) as is_spike,
        coalesce(evaluated.interaction_count < {{ var('drop_ratio') }} * baselines.median_7d, false) as is_low
    from evaluated
    left join baselines on evaluated.capability = baselines.capability and evaluated.date = baselines.date
),

graded as (
    select
        *,
        case
            when not is_spike and (is_running or not is_low) then 0
            when days_7d < 7 then 1
            {%- for severity, grade in [('high', 3), ('medium', 2)] %}
            {%- set reached = var('severity_' ~ severity) %}
            when
                is_spike
                and interaction_count >= {{ reached.volume }}
                and interaction_count >= {{ reached.spike_ratio }} * median_7d
                then {{ grade }}
            when
                not is_spike
                and median_7d >= {{ reached.volume }}
                and interaction_count <= {{ reached.drop_ratio }} * median_7d
                then {{ grade }}
            {%- endfor %}
            else 1
        end as grade
    from figures
),

recounted as (
    select
        graded.date,
        graded.capability,
        graded.interaction_count,
        graded.median_7d,
        graded.median_14d,
        graded.mean_7d,
        graded.stddev_7d,
        case when graded.days_7d = 7 and graded.stddev_7d > 0
            then (graded.interaction_count - graded.mean_7d) / graded.stddev_7d end as z_score,
        graded.like_day_median,
        graded.like_day_count,
        100 * (graded.interaction_count / nullif(graded.median_7d, 0) - 1) as deviation_percent,
        case
            when graded.is_spike then 'spike'
            when graded.is_low and not graded.is_running then 'drop'
            else 'normal'
        end as deviation_state,
        case
            when graded.days_7d < 7 then 'insufficient_history'
            when graded.is_running then 'incomplete_day'
            else 'ok'
        end as evaluation_status,
        case graded.grade when 1 then 'low' when 2 then 'medium' when 3 then 'high' end as severity,
        case
            when
                own.reason like concat({{ as_text('graded.interaction_count') }}, ' interactions%')
                and own.reason like concat('%', own.compared_as, '%')
                and own.reason like concat('%', own.ends_with)
                then own.reason
            else 'not the reason of these figures'
        end as reason
    from graded
    left join own on graded.date = own.date and graded.capability = own.capability
)

{{ rows_that_differ(
    ['date', 'capability'],
    exact=['interaction_count', 'like_day_count', 'deviation_state', 'evaluation_status', 'severity', 'reason'],
    approximate=[
        'median_7d', 'median_14d', 'mean_7d', 'stddev_7d', 'z_score', 'like_day_median', 'deviation_percent'
    ]
) }}
