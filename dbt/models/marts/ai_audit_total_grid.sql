select {{ star(except=['scope', 'capability', 'workspace_count']) }}
from {{ ref('int_ai_audit_expected_counts') }}
where scope = 'total' and date >= {{ first_dense_day() }}
