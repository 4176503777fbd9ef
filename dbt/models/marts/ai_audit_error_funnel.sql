select
    date,
    capability,
    provider,
    is_stub,
    {{ as_count('sum(interaction_count)') }} as interaction_count,
    {{ as_count('sum(success_count)') }} as success_count,
    {{ as_count('sum(error_by_status_only_count)') }} as error_by_status_only_count,
    {{ as_count('sum(error_by_flag_only_count)') }} as error_by_flag_only_count,
    {{ as_count('sum(error_by_both_count)') }} as error_by_both_count,
    {{ as_count('sum(unknown_count)') }} as unknown_count
from {{ ref('ai_audit_workspace_counts') }}
where {{ is_built_day() }}
group by date, capability, provider, is_stub
