{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_latency_histogram'}}}) }}

-- Rows of ai_audit_latency_histogram that differ from a recount of staging.
with own as (
    select *
    from {{ ref('ai_audit_latency_histogram') }}
    where {{ tested_days(ref('ai_audit_latency_histogram')) }}
),

events as (
    select
        date,
        capability,
        provider,
        lower(provider) = 'stub' as is_stub,
        case
            when duration_ms <= 1 then 0
            else {{ as_count('ceil(ln(duration_ms) / ln(' ~ var('latency_bucket_growth') ~ '))') }}
        end as bucket
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and duration_ms is not null and {{ tested_days(ref('stg_ai_audit_logs')) }}
),

recounted as (
    select
        date,
        capability,
        provider,
        is_stub,
        bucket,
        case when bucket > 0 then exp((bucket - 1) * ln({{ var('latency_bucket_growth') }})) else 0 end as lower_ms,
        exp(bucket * ln({{ var('latency_bucket_growth') }})) as upper_ms,
        count(*) as interaction_count
    from events
    group by date, capability, provider, is_stub, bucket
)

{{ rows_that_differ(
    ['date', 'capability', 'provider', 'is_stub', 'bucket'],
    counts=['interaction_count'],
    approximate=['lower_ms', 'upper_ms']
) }}
