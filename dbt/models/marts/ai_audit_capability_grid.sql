select {{ star(except=['scope']) }}
from {{ ref('int_ai_audit_expected_counts') }}
where scope = 'capability' and date >= {{ first_dense_day() }}
