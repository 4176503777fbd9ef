with counted_steps as ( -- noqa: ST03
    select
        environment,
        capability,
        {{ step_of('created_at', var('outcome_step_minutes')) }} as step_start,
        count(*) as interaction_count,
        {{ as_count("countif(status_class = 'success')") }} as success_count,
        {{ as_count("countif(status_class = 'error')") }} as error_count,
        {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
        count(workspace_id) as workspace_known_count,
        min(case when status_class = 'error' then workspace_id end) as first_error_workspace,
        max(case when status_class = 'error' then workspace_id end) as last_error_workspace
    from {{ ref('stg_ai_audit_logs') }}
    where not is_stub and {{ is_built_row() }}
    group by environment, capability, step_start
    {% if not builds_everything() %}
    -- The trailing hour begins on the day before, and base rates affect later days; counts of other days are kept.
    union all
    select
        environment,
        capability,
        step_start,
        interaction_count,
        success_count,
        error_count,
        unknown_count,
        workspace_known_count,
        first_error_workspace,
        last_error_workspace
    from {{ this }}
    where
        interaction_count > 0
        and date >= {{ add_days(first_dense_day(), -1) }}
        and not {{ is_built_day() }}
    {% endif %}
)

select
    date,
    capability,
    step_start,
    environment,
    interaction_count,
    success_count,
    error_count,
    unknown_count,
    workspace_known_count,
    first_error_workspace,
    last_error_workspace,
    interaction_count_15m,
    success_count_15m,
    error_count_15m,
    unknown_count_15m,
    workspace_known_count_15m,
    errors_in_two_workspaces_15m,
    interaction_count_60m,
    success_count_60m,
    error_count_60m,
    unknown_count_60m,
    workspace_known_count_60m,
    errors_in_two_workspaces_60m,
    base_error_rate,
    error_rate_15m,
    error_rate_15m_low,
    error_rate_60m,
    error_rate_60m_low,
    unknown_rate_60m
from {{ with_outcomes('counted_steps', ['environment', 'capability'], ref('ai_audit_capability_grid')) }}
