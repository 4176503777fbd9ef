{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_data_quality'}}}) }}

-- Rows of ai_audit_data_quality that differ from a recount of staging.
with own as (
    select *
    from {{ ref('ai_audit_data_quality') }}
    where {{ tested_days(ref('ai_audit_data_quality')) }}
),

records as (
    select *
    from {{ ref('stg_ai_audit_logs') }}
    where
        environment = 'live'
        and {{ every_row() if flags.FULL_REFRESH or not execute else rows_of_build_days(days=build_days_and([-1])) }}
),

call_days as (
    select distinct
        completion_id,
        {{ add_days('date', 1) }} as next_date
    from records
    where completion_id is not null and lower(provider) != 'stub'
),

calls as (
    select
        records.id,
        call_days.completion_id is not null or row_number() over (
            partition by records.completion_id, records.date order by records.created_at, records.id
        ) > 1 as is_repeated
    from records
    left join call_days on records.completion_id = call_days.completion_id and records.date = call_days.next_date
    where records.completion_id is not null and lower(records.provider) != 'stub'
),

recounted as (
    select
        records.date,
        records.capability,
        records.provider,
        lower(records.provider) = 'stub' as is_stub,
        count(*) as interaction_count,
        {{ as_count('countif(calls.is_repeated is not true)') }} as call_count,
        {{ as_count('countif(calls.is_repeated is true)') }} as duplicate_call_count,
        {{ as_count('countif(records.status_is_unlisted)') }} as unlisted_status_count,
        {{ as_count('countif(records.duration_is_invalid)') }} as invalid_duration_count,
        {{ as_count('countif(records.prompt_tokens_are_invalid)') }} as invalid_prompt_tokens_count,
        {{ as_count('countif(records.completion_tokens_are_invalid)') }} as invalid_completion_tokens_count,
        {{ as_count('countif(records.source_documents_are_invalid)') }} as invalid_source_documents_count
    from records
    left join calls on records.id = calls.id
    where {{ tested_days(ref('stg_ai_audit_logs')) | replace('created_at', 'records.created_at') }}
    group by records.date, records.capability, records.provider
)

{{ rows_that_differ(
    ['date', 'capability', 'provider', 'is_stub'],
    counts=[
        'interaction_count', 'call_count', 'duplicate_call_count', 'unlisted_status_count', 'invalid_duration_count',
        'invalid_prompt_tokens_count', 'invalid_completion_tokens_count', 'invalid_source_documents_count'
    ]
) }}
