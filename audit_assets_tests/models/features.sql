-- steps(capability, day_number, step_of_day, epoch, interaction_count), dense: one row per step, zeros present.
-- One row per (capability, step) comes out. Windows of the day end at the step and are in seconds; history is in local days.
-- list_sort(x) is, in BigQuery, array(select v from unnest(x) as v order by v); x[k] is x[safe_ordinal(k)], a // b is div(a, b), exclude is except.
with trailing_counts as (
    select
        capability, day_number, step_of_day, epoch, interaction_count,
        cast(sum(interaction_count) over (partition by capability order by epoch range between 3599 preceding and current row) as bigint) as count_1h,
        cast(sum(interaction_count) over (partition by capability order by epoch range between 7199 preceding and current row) as bigint) as count_2h,
        cast(sum(interaction_count) over (partition by capability order by epoch range between 21599 preceding and current row) as bigint) as count_6h,
        cast(sum(interaction_count) over (partition by capability, day_number order by epoch rows between unbounded preceding and current row) as bigint) as count_day,
        max(interaction_count) over (partition by capability order by epoch range between 7199 preceding and current row) as highest_step_2h,
        epoch - min(epoch) over (partition by capability, day_number) as seconds_into_day
    from steps
),
comparable_counts as (
    select
        *,
        count(*) over same_step as comparable_days,
        array_agg(count_1h) over same_step as earlier_1h,
        array_agg(count_2h) over same_step as earlier_2h,
        array_agg(count_6h) over same_step as earlier_6h,
        min(count_2h) over same_step as lowest_2h,
        max(count_1h) over same_step as highest_1h,
        max(count_6h) over same_step as highest_6h,
        min(count_day) over same_step as lowest_day,
        max(count_1h) over (partition by capability, step_of_day order by day_number range between 1 preceding and 1 preceding) as day_before_1h,
        max(count_2h) over (partition by capability, step_of_day order by day_number range between 7 preceding and 7 preceding) as week_before_2h
    from trailing_counts
    window same_step as (partition by capability, step_of_day order by day_number range between 14 preceding and 1 preceding)
),
sorted_counts as (
    select
        * exclude (earlier_1h, earlier_2h, earlier_6h),
        list_sort(earlier_1h) as earlier_1h,
        list_sort(earlier_2h) as earlier_2h,
        list_sort(earlier_6h) as earlier_6h
    from comparable_counts
),
usual_counts as (
    select
        * exclude (earlier_1h, earlier_2h, earlier_6h),
        (earlier_1h[(comparable_days + 1) // 2] + earlier_1h[(comparable_days + 2) // 2]) / 2 as usual_1h,
        (earlier_2h[(comparable_days + 1) // 2] + earlier_2h[(comparable_days + 2) // 2]) / 2 as usual_2h,
        (earlier_6h[(comparable_days + 1) // 2] + earlier_6h[(comparable_days + 2) // 2]) / 2 as usual_6h,
        earlier_1h[2] as lowest_2nd_1h,
        earlier_1h[3] as lowest_3rd_1h,
        earlier_1h[comparable_days - 1] as highest_2nd_1h,
        earlier_2h[2] as lowest_2nd_2h,
        earlier_6h[3] as lowest_3rd_6h
    from sorted_counts
),
ratios_to_usual as (
    select
        *,
        case when comparable_days >= 3 then (count_2h + 3.0) / (usual_2h + 3.0) end as ratio_2h,
        case when comparable_days >= 3 then (count_6h + 3.0) / (usual_6h + 3.0) end as ratio_6h,
        avg(case when count_1h + 1 < 0.67 * (lowest_2nd_1h + 1) then 1.0 else 0.0 end)
            over (partition by capability order by epoch range between 21599 preceding and current row) as low_share_6h
    from usual_counts
),
day_extremes as (
    select
        capability, day_number,
        max(count_1h) as peak_1h,
        max(count_2h) as peak_2h,
        max(count_6h) as peak_6h,
        min(ratio_2h) as lowest_ratio_2h,
        min(ratio_6h) as lowest_ratio_6h
    from ratios_to_usual
    group by capability, day_number
),
earlier_extremes as (
    select
        capability, day_number,
        array_agg(peak_1h) over earlier as peaks_1h,
        array_agg(peak_2h) over earlier as peaks_2h,
        array_agg(peak_6h) over earlier as peaks_6h,
        array_agg(coalesce(lowest_ratio_2h, 1e9)) over earlier as ratios_2h,
        array_agg(coalesce(lowest_ratio_6h, 1e9)) over earlier as ratios_6h
    from day_extremes
    window earlier as (partition by capability order by day_number range between 14 preceding and 1 preceding)
),
earlier_records as (
    select
        capability, day_number,
        list_reverse_sort(peaks_1h)[1] as peak_1h,
        list_reverse_sort(peaks_1h)[2] as peak_2nd_1h,
        list_reverse_sort(peaks_2h)[2] as peak_2nd_2h,
        list_reverse_sort(peaks_6h)[2] as peak_2nd_6h,
        list_sort(ratios_2h)[2] as low_ratio_2nd_2h,
        list_sort(ratios_6h)[2] as low_ratio_2nd_6h
    from earlier_extremes
)
select
    r.capability, r.day_number, r.step_of_day, r.epoch, r.seconds_into_day, r.comparable_days,
    r.count_1h, r.count_2h, r.count_6h, r.count_day, r.highest_step_2h,
    r.usual_1h, r.usual_2h, r.usual_6h,
    r.lowest_2h, r.lowest_day, r.highest_1h, r.highest_6h,
    r.lowest_2nd_1h, r.lowest_3rd_1h, r.lowest_2nd_2h, r.lowest_3rd_6h, r.highest_2nd_1h,
    r.day_before_1h, r.week_before_2h,
    r.ratio_2h, r.ratio_6h, r.low_share_6h,
    e.peak_1h, e.peak_2nd_1h, e.peak_2nd_2h, e.peak_2nd_6h, e.low_ratio_2nd_2h, e.low_ratio_2nd_6h
from ratios_to_usual as r
join earlier_records as e on r.capability = e.capability and r.day_number = e.day_number
