{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_daily'}}}) }}

-- Rows of ai_audit_daily that differ from a recount of staging.
with own as (
    select *
    from {{ ref('ai_audit_daily') }}
    where {{ tested_days(ref('ai_audit_daily')) }}
),

events as (
    select
        date,
        capability,
        provider,
        lower(provider) = 'stub' as is_stub,
        workspace_id,
        status_class,
        duration_ms
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and {{ tested_days(ref('stg_ai_audit_logs')) }}
),

recounted as (
    select
        date, capability, provider, is_stub,
        count(*) as interaction_count,
        count(distinct workspace_id) as workspace_count,
        {{ as_count("countif(status_class = 'success')") }} as success_count,
        {{ as_count("countif(status_class = 'error')") }} as error_count,
        {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
        countif(status_class = 'error') / nullif(countif(status_class in ('success', 'error')), 0) as error_rate,
        sum(duration_ms) / nullif(count(duration_ms), 0) as avg_latency_ms,
        max(duration_ms) as max_latency_ms,
        count(duration_ms) as duration_count
    from events
    group by date, capability, provider, is_stub
),

ranks as (
    {{ percentile_ranks(['date', 'capability', 'provider', 'is_stub']) }}
),

rows_that_differ as (
    {{ rows_that_differ(
        ['date', 'capability', 'provider', 'is_stub'],
        counts=[
            'interaction_count', 'workspace_count', 'success_count', 'error_count', 'unknown_count', 'duration_count'
        ],
        exact=['max_latency_ms'],
        approximate=['error_rate', 'avg_latency_ms']
    ) }}
),

percentiles_that_differ as (
    {{ percentiles_that_differ(['date', 'capability', 'provider', 'is_stub']) }}
)

select date, capability, provider, is_stub
from rows_that_differ
union all
select date, capability, provider, is_stub
from percentiles_that_differ
