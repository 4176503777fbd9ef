{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_capability_stats'}}}) }}

-- Rows of ai_audit_capability_stats that differ from a recount of staging.
with own as (
    select *
    from {{ ref('ai_audit_capability_stats') }}
    where {{ tested_days(ref('ai_audit_capability_stats')) }}
),

events as (
    select
        date,
        capability,
        created_at,
        workspace_id,
        status_class,
        duration_ms
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and lower(provider) != 'stub' and {{ tested_days(ref('stg_ai_audit_logs')) }}
),

recounted as (
    select
        date, capability,
        count(*) as interaction_count,
        count(distinct workspace_id) as workspace_count,
        {{ as_count("countif(status_class = 'success')") }} as success_count,
        {{ as_count("countif(status_class = 'error')") }} as error_count,
        {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
        countif(status_class = 'error') / nullif(countif(status_class in ('success', 'error')), 0) as error_rate,
        sum(duration_ms) / nullif(count(duration_ms), 0) as avg_latency_ms,
        max(duration_ms) as max_latency_ms,
        count(duration_ms) as duration_count,
        min(created_at) as first_interaction_at,
        max(created_at) as last_interaction_at
    from events
    group by date, capability
),

ranks as (
    {{ percentile_ranks(['date', 'capability']) }}
),

rows_that_differ as (
    {{ rows_that_differ(
        ['date', 'capability'],
        counts=[
            'interaction_count', 'workspace_count', 'success_count', 'error_count', 'unknown_count', 'duration_count'
        ],
        exact=['max_latency_ms', 'first_interaction_at', 'last_interaction_at'],
        approximate=['error_rate', 'avg_latency_ms'], dense=true
    ) }}
),

percentiles_that_differ as (
    {{ percentiles_that_differ(['date', 'capability']) }}
)

select date, capability
from rows_that_differ
union all
select date, capability
from percentiles_that_differ
