-- A registry is not rebuilt: a full refresh keeps who is in it and since when.
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
    select count(*) = 0 as is_first_load
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
        or seen.first_seen_at < {{ add_minutes(now_literal(), -24 * 60) }}
    ) as registered_silently
from seen
cross join first_load
left join registry on seen.environment = registry.environment and seen.capability = registry.capability
