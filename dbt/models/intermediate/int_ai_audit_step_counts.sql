select
    date,
    environment,
    capability,
    {{ time_bucket('created_at', var('step_minutes')) }} as step_start,
    count(*) as interaction_count,
    {{ as_count("countif(status_class = 'success')") }} as success_count,
    {{ as_count("countif(status_class = 'error')") }} as error_count,
    {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
    count(distinct workspace_id) as workspace_count
from {{ ref('stg_ai_audit_logs') }}
where not is_stub and {{ is_built_row() }}
group by date, environment, capability, step_start
