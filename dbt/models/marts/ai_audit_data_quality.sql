with calls as (
    select
        id,
        date,
        created_at,
        capability,
        provider,
        completion_id
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and not is_stub and completion_id is not null and {{ is_built_row(and_days=[-1, 1]) }}
),

repeated_calls as (
    select completion_id
    from calls
    group by completion_id
    having count(*) > 1
),

ordered_calls as (
    select
        calls.date,
        calls.capability,
        calls.provider,
        lag(calls.date) over (partition by calls.completion_id order by calls.created_at, calls.id) as date_before
    from calls
    inner join repeated_calls on calls.completion_id = repeated_calls.completion_id
),

duplicates as (
    select
        date,
        capability,
        provider,
        count(*) as duplicate_call_count
    from ordered_calls
    where {{ day_number('date') }} - {{ day_number('date_before') }} <= 1
    group by date, capability, provider
),

records as (
    select
        date,
        capability,
        provider,
        is_stub,
        count(*) as interaction_count,
        {{ as_count("countif(status_is_unlisted)") }} as unlisted_status_count,
        {{ as_count("countif(duration_is_invalid)") }} as invalid_duration_count,
        {{ as_count("countif(prompt_tokens_are_invalid)") }} as invalid_prompt_tokens_count,
        {{ as_count("countif(completion_tokens_are_invalid)") }} as invalid_completion_tokens_count,
        {{ as_count("countif(source_documents_are_invalid)") }} as invalid_source_documents_count
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and {{ is_built_row(and_days=[1]) }}
    group by date, capability, provider, is_stub
)

select
    records.date,
    records.capability,
    records.provider,
    records.is_stub,
    records.interaction_count,
    records.interaction_count - coalesce(duplicates.duplicate_call_count, 0) as call_count,
    coalesce(duplicates.duplicate_call_count, 0) as duplicate_call_count,
    records.unlisted_status_count,
    records.invalid_duration_count,
    records.invalid_prompt_tokens_count,
    records.invalid_completion_tokens_count,
    records.invalid_source_documents_count
from records
left join duplicates
    on
        records.date = duplicates.date
        and records.capability = duplicates.capability
        and records.provider = duplicates.provider
