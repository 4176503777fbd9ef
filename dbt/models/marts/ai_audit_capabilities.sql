-- A registry is not rebuilt: a full refresh keeps who is in it and since when.
{{ config(incremental_strategy='merge', unique_key='capability', partition_by=none, full_refresh=false) }}

with seen as (
    select
        capability,
        min(first_interaction_at) as first_seen_at
    from {{ ref('ai_audit_capability_stats') }}
    where interaction_count > 0
    group by capability
),

registry as (
    select
        capability,
        registered_at,
        registered_silently
    from {{ this if is_incremental() else empty_registry() }}
),

first_load as (
    select count(*) = 0 as is_first_load
    from registry
)

select
    seen.capability,
    seen.first_seen_at,
    cast(seen.first_seen_at as date) as first_seen_date,
    coalesce(registry.registered_at, {{ now_literal() }}) as registered_at,
    coalesce(
        registry.registered_silently,
        seen.capability = 'unknown' or first_load.is_first_load
    ) as registered_silently
from seen
cross join first_load
left join registry on seen.capability = registry.capability
