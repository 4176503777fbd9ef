with events as (
    select
        date,
        capability,
        provider,
        is_stub,
        {{ as_count('ceil(ln(greatest(duration_ms, 1)) / ln(' ~ var('latency_bucket_growth') ~ '))') }} as bucket
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and duration_ms is not null and {{ is_built_row() }}
),

buckets as (
    select
        date,
        capability,
        provider,
        is_stub,
        bucket,
        count(*) as interaction_count
    from events
    group by date, capability, provider, is_stub, bucket
)

select
    date,
    capability,
    provider,
    is_stub,
    bucket,
    case when bucket = 0 then 0 else pow({{ var('latency_bucket_growth') }}, bucket - 1) end as lower_ms,
    pow({{ var('latency_bucket_growth') }}, bucket) as upper_ms,
    interaction_count
from buckets
