with counted_steps as ( -- noqa: ST03
    select
        environment,
        step_start,
        sum(interaction_count) as interaction_count,
        sum(success_count) as success_count,
        sum(error_count) as error_count,
        sum(unknown_count) as unknown_count,
        sum(workspace_known_count) as workspace_known_count,
        min(first_error_workspace) as first_error_workspace,
        max(last_error_workspace) as last_error_workspace
    from {{ ref('ai_audit_capability_outcomes') }}
    where interaction_count > 0 and date >= {{ add_days(first_dense_day(), -1) }}
    group by environment, step_start
)

select
    date,
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
from {{ with_outcomes('counted_steps', ['environment'], ref('ai_audit_total_grid')) }}
