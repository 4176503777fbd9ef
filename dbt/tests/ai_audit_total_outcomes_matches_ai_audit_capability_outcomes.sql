{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_total_outcomes'}}}) }}

-- Steps of ai_audit_total_outcomes whose own counts are not the sums over the capabilities.
with own as (
    select *
    from {{ ref('ai_audit_total_outcomes') }}
    where {{ tested_days(ref('ai_audit_total_outcomes')) }}
),

recounted as (
    select
        environment,
        step_start,
        {%- for column in outcome_counts() %}
        {{ as_count('sum(' ~ column ~ ')') }} as {{ column }},
        {%- endfor %}
        min(first_error_workspace) as first_error_workspace,
        max(last_error_workspace) as last_error_workspace
    from {{ ref('ai_audit_capability_outcomes') }}
    where {{ tested_days(ref('ai_audit_capability_outcomes')) }}
    group by environment, step_start
)

{{ rows_that_differ(
    ['environment', 'step_start'],
    counts=outcome_counts(),
    exact=['first_error_workspace', 'last_error_workspace']
) }}
