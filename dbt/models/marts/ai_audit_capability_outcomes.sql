select {{ star(except=['scope']) }}
from {{ ref('int_ai_audit_trailing_outcomes') }}
where scope = 'capability' and date >= {{ first_dense_day() }}
