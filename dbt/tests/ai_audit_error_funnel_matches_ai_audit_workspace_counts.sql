{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_error_funnel'}}}) }}

-- Rows of ai_audit_error_funnel whose classes are not the sums of their workspaces, or do not add up to the
-- interactions.
with own as (
    select
        *,
        success_count + error_by_status_only_count + error_by_flag_only_count + error_by_both_count + unknown_count
            as class_count
    from {{ ref('ai_audit_error_funnel') }}
    where {{ tested_days(ref('ai_audit_error_funnel')) }}
),

recounted as (
    select
        date,
        capability,
        provider,
        is_stub,
        {%- for column in [
            'interaction_count', 'success_count', 'error_by_status_only_count', 'error_by_flag_only_count',
            'error_by_both_count', 'unknown_count'
        ] %}
        {{ as_count('sum(' ~ column ~ ')') }} as {{ column }},
        {%- endfor %}
        {{ as_count('sum(success_count + error_count + unknown_count)') }} as class_count
    from {{ ref('ai_audit_workspace_counts') }}
    where {{ tested_days(ref('ai_audit_workspace_counts')) }}
    group by date, capability, provider, is_stub
)

{{ rows_that_differ(
    ['date', 'capability', 'provider', 'is_stub'],
    counts=[
        'interaction_count', 'success_count', 'error_by_status_only_count', 'error_by_flag_only_count',
        'error_by_both_count', 'unknown_count', 'class_count'
    ]
) }}
