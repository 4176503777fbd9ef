with events as (
    select
        date,
        capability,
        provider,
        is_stub,
        workspace_id,
        status_class,
        duration_ms
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and {{ is_built_row() }}
),

days as (
    select
        date,
        capability,
        provider,
        is_stub,
        count(*) as interaction_count,
        count(distinct workspace_id) as workspace_count,
        {{ as_count("countif(status_class = 'success')") }} as success_count,
        {{ as_count("countif(status_class = 'error')") }} as error_count,
        {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
        avg(duration_ms) as avg_latency_ms,
        {{ latency_percentiles('duration_ms') }} as latency_percentiles,
        max(duration_ms) as max_latency_ms,
        count(duration_ms) as duration_count
    from events
    group by date, capability, provider, is_stub
)

select
    date,
    capability,
    provider,
    is_stub,
    interaction_count,
    workspace_count,
    success_count,
    error_count,
    unknown_count,
    error_count / nullif(success_count + error_count, 0) as error_rate,
    avg_latency_ms,
    {{ latency_percentile('latency_percentiles', 50) }} as p50_latency_ms,
    {{ latency_percentile('latency_percentiles', 90) }} as p90_latency_ms,
    {{ latency_percentile('latency_percentiles', 95) }} as p95_latency_ms,
    {{ latency_percentile('latency_percentiles', 99) }} as p99_latency_ms,
    max_latency_ms,
    duration_count
from days
