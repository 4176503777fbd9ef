with normalised as (
    select
        id,
        created_at,
        prompt_length,
        row_hash,
        synced_at,
        duration_ms as duration_text,
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
        {{ safe_count('prompt_tokens') }} as prompt_tokens,
        {{ safe_count('completion_tokens') }} as completion_tokens,
        source_documents,
        {{ json_list_length('source_documents') }} as source_document_count,
        {{ trimmed('snapshot_id') }} as snapshot_id,
        {{ trimmed('drill_id') }} as drill_id
    from {{ source('analytics', 'ai_audit_logs') }}
),

classified as (
    select
        *,
        coalesce(status not in ('success', 'pending', 'processing'), false) as error_by_status,
        -- Beyond a trillion milliseconds (31 years) it is junk, and its sums would overflow.
        case when duration_number between 0 and 1e12 then duration_number end as duration_ms
    from normalised
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
        when error_by_flag or error_by_status then 'error'
        when status = 'success' then 'success'
        else 'unknown'
    end as status_class,
    error_by_status,
    error_by_flag,
    duration_ms,
    duration_ms is null and {{ trimmed('duration_text') }} is not null as duration_is_invalid,
    model,
    model_parameters,
    completion_id,
    prompt_tokens,
    completion_tokens,
    prompt_length,
    source_documents,
    source_document_count,
    snapshot_id,
    lower(provider) = 'stub' as is_stub,
    drill_id,
    case when drill_id is null then 'live' else 'sim' end as environment,
    row_hash,
    synced_at
from classified
