{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_status_words'}}}) }}

-- Rows of ai_audit_status_words that differ from a recount of staging.
with own as (
    select *
    from {{ ref('ai_audit_status_words') }}
    where {{ tested_days(ref('ai_audit_status_words')) }}
),

recounted as (
    select
        date,
        case when status is null then '' else status end as status,
        count(*) as interaction_count,
        countif(status_is_unlisted) = 0 as is_listed
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and {{ tested_days(ref('stg_ai_audit_logs')) }}
    group by date, status
)

{{ rows_that_differ(['date', 'status'], counts=['interaction_count'], exact=['is_listed']) }}
