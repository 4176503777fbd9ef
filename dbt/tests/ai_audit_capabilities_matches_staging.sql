{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_capabilities'}}}) }}

-- Capabilities of the built days that the registry lacks, or whose first_seen_at is too late or, if this build
-- registered them, differs from their first row. Also entries that are inconsistent in themselves.
with seen as (
    select
        environment,
        capability,
        min(created_at) as first_seen_at
    from {{ ref('stg_ai_audit_logs') }}
    where lower(provider) != 'stub' and {{ tested_days(ref('stg_ai_audit_logs')) }}
    group by environment, capability
),

first_load as (
    select min(registered_at) = {{ now_literal() }} as is_first_load
    from {{ ref('ai_audit_capabilities') }}
)

select
    coalesce(seen.environment, registry.environment) as environment,
    coalesce(seen.capability, registry.capability) as capability,
    seen.first_seen_at,
    registry.first_seen_at as registered_as_first_seen_at,
    registry.registered_at,
    registry.registered_silently
from {{ ref('ai_audit_capabilities') }} as registry
cross join first_load
full outer join seen on registry.environment = seen.environment and registry.capability = seen.capability
where
    registry.capability is null
    or registry.first_seen_at > seen.first_seen_at
    or (
        registry.registered_at = {{ now_literal() }}
        and registry.first_seen_at < seen.first_seen_at
        and {{ 'true' if flags.FULL_REFRESH else 'cast(registry.first_seen_at as date) in (' ~ build_day_list() ~ ')' }}
    )
    or {{ differs('registry.first_seen_date', 'cast(registry.first_seen_at as date)') }}
    -- A source's clock may be ahead of the build's, by minutes.
    or (registry.registered_at between {{ add_minutes('registry.first_seen_at', -60) }} and {{ now_literal() }}) is not true
    or registry.registered_silently is null
    or (not registry.registered_silently and registry.capability = 'unknown')
    -- Capabilities that this build registered: silently in the first load. Later ones are new unless they are history,
    -- which is more than 7 days old, or more than a day for a drill.
    or (
        registry.registered_at = {{ now_literal() }}
        and case
            when first_load.is_first_load then not registry.registered_silently
            when registry.capability = 'unknown' then false
            when registry.first_seen_at >= {{ add_minutes(now_literal(), -24 * 60) }} then registry.registered_silently
            when registry.environment = 'live' and registry.first_seen_at >= {{ add_minutes(now_literal(), -7 * 24 * 60) }}
                then registry.registered_silently
        end
    )
