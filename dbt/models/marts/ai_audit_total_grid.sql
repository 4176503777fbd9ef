with series_names as (
    select
        environment,
        {{ as_small_count('row_number() over (order by environment)') }} as series
    from {{ ref('ai_audit_capability_grid') }}
    group by environment
),

steps as ( -- noqa: ST03
    select
        series_names.series,
        grid.step_start,
        grid.local_date,
        grid.step_of_day,
        grid.day_is_over,
        {{ as_count('sum(grid.interaction_count)') }} as interaction_count,
        {{ as_count('sum(grid.success_count)') }} as success_count,
        {{ as_count('sum(grid.error_count)') }} as error_count,
        {{ as_count('sum(grid.unknown_count)') }} as unknown_count
    from {{ ref('ai_audit_capability_grid') }} as grid
    inner join series_names on grid.environment = series_names.environment
    where grid.date >= {{ add_days(first_dense_day(), -expectation_days()) }}
    group by series_names.series, grid.step_start, grid.local_date, grid.step_of_day, grid.day_is_over
)

select
    date,
    step_start,
    environment,
    interaction_count,
    success_count,
    error_count,
    unknown_count,
    local_date,
    step_of_day,
    day_is_over,
    day_count,
    seconds_into_day,
    day_median_14d,
    comparable_days,
    last_interaction_at,
    expected_count,
    expected_since_last,
    count_1h,
    count_2h,
    count_6h,
    highest_step_2h,
    usual_1h,
    usual_2h,
    usual_6h,
    lowest_2h,
    lowest_day,
    lowest_2nd_1h,
    lowest_3rd_1h,
    lowest_2nd_2h,
    lowest_3rd_6h,
    highest_1h,
    highest_2nd_1h,
    highest_6h,
    day_before_1h,
    week_before_2h,
    ratio_2h,
    ratio_6h,
    low_share_6h,
    peak_1h,
    peak_2nd_1h,
    peak_2nd_2h,
    peak_2nd_6h,
    low_ratio_2nd_2h,
    low_ratio_2nd_6h
from {{ with_expectations(
    'steps',
    'series_names',
    ['environment'],
    ['success_count', 'error_count', 'unknown_count', 'day_is_over']
) }}
