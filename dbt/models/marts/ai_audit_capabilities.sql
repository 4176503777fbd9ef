-- The registry is not rebuilt: a full refresh keeps its capabilities and their dates.
{{ config(
    incremental_strategy='merge', unique_key=['environment', 'capability'], partition_by=none, full_refresh=false
) }}

with seen as (
    select
        environment,
        capability,
        min(created_at) as first_seen_at
    from {{ ref('stg_ai_audit_logs') }}
    where not is_stub and {{ rows_to_register() }}
    group by environment, capability
),

registry as (
    select
        environment,
        capability,
        first_seen_at,
        registered_at,
        registered_silently
    from {{ this if is_incremental() else empty_registry() }}
),

first_load as (
    select
        count(*) = 0 as is_first_load,
        min(case when environment = 'live' then first_seen_at end) as reaches_back_to
    from registry
)

select
    seen.environment,
    seen.capability,
    least(seen.first_seen_at, coalesce(registry.first_seen_at, seen.first_seen_at)) as first_seen_at,
    cast(least(seen.first_seen_at, coalesce(registry.first_seen_at, seen.first_seen_at)) as date) as first_seen_date,
    coalesce(registry.registered_at, {{ now_literal() }}) as registered_at,
    coalesce(
        registry.registered_silently,
        seen.capability = 'unknown'
        or first_load.is_first_load
        -- A drill loads ordinary history of its own.
        or (seen.environment = 'sim' and seen.first_seen_at < {{ add_minutes(now_literal(), -24 * 60) }})
        -- A backfill loads history from before everything loaded so far.
        or coalesce(
            seen.first_seen_at < first_load.reaches_back_to
            and seen.first_seen_at < {{ add_minutes(now_literal(), -7 * 24 * 60) }},
            false
        )
    ) as registered_silently
from seen
cross join first_load
left join registry on seen.environment = registry.environment and seen.capability = registry.capability
