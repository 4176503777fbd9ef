select {{ star(except=['scope', 'capability']) }}
from {{ ref('int_ai_audit_trailing_outcomes') }}
where scope = 'total' and date >= {{ first_dense_day() }}
