with normalized as (
    select
        id,
        created_at,
        prompt_length,
        row_hash,
        synced_at,
        duration_ms as duration_text,
        {{ trimmed('prompt_tokens') }} as prompt_tokens_text,
        {{ trimmed('completion_tokens') }} as completion_tokens_text,
        coalesce(error_flag, false) as error_by_flag,
        {{ trimmed('workflow_id') }} as workspace_id,
        coalesce({{ trimmed('capability') }}, 'unknown') as capability,
        coalesce({{ trimmed('provider') }}, 'unspecified') as provider,
        cast(created_at as date) as date,
        lower({{ trimmed('status') }}) as status,
        {{ safe_float('duration_ms') }} as duration_number,
        {{ trimmed('model') }} as model,
        model_parameters,
        {{ trimmed('completion_id') }} as completion_id,
        source_documents,
        {{ json_list_length('source_documents') }} as source_document_count,
        {{ trimmed('snapshot_id') }} as snapshot_id,
        {{ trimmed('drill_id') }} as drill_id
    from {{ source('analytics', 'ai_audit_logs') }}
),

with_status_words as (
    select
        *,
        {{ status_word('status') }} as status_word,
        {{ safe_count('prompt_tokens_text') }} as prompt_tokens,
        {{ safe_count('completion_tokens_text') }} as completion_tokens,
        -- More than a trillion milliseconds (31 years) is invalid, and sums would overflow.
        case when duration_number between 0 and 1e12 then duration_number end as duration_ms
    from normalized
),

classified as (
    select
        *,
        {{ status_class('status_word') }} as listed_class
    from with_status_words
)

select
    id,
    workspace_id,
    capability,
    provider,
    created_at,
    date,
    status,
    case
        when error_by_flag then 'error'
        else coalesce(listed_class, 'unknown')
    end as status_class,
    listed_class is null as status_is_unlisted,
    coalesce(listed_class = 'error', false) as error_by_status,
    error_by_flag,
    duration_ms,
    duration_ms is null and {{ trimmed('duration_text') }} is not null as duration_is_invalid,
    model,
    model_parameters,
    completion_id,
    prompt_tokens,
    prompt_tokens is null and prompt_tokens_text is not null as prompt_tokens_are_invalid,
    completion_tokens,
    completion_tokens is null and completion_tokens_text is not null as completion_tokens_are_invalid,
    prompt_length,
    source_documents,
    source_document_count,
    source_document_count is null and {{ trimmed('source_documents') }} is not null as source_documents_are_invalid,
    snapshot_id,
    lower(provider) = 'stub' as is_stub,
    drill_id,
    case when drill_id is null then 'live' else 'sim' end as environment,
    row_hash,
    synced_at
from classified
