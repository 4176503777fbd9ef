select
    date,
    coalesce(status, '') as status,
    not status_is_unlisted as is_listed,
    count(*) as interaction_count
from {{ ref('stg_ai_audit_logs') }}
where environment = 'live' and {{ is_built_row() }}
group by date, status, status_is_unlisted
