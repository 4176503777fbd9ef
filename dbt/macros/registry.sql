{#- Macros of ai_audit_capabilities. -#}

{#- An empty relation with the registry's types, to join if the registry does not exist yet. -#}
{% macro empty_registry() -%}
  (select environment, capability, first_seen_at, first_seen_at as registered_at, true as registered_silently from seen where false)
{%- endmacro %}

{#- The rows of staging that it reads: those of the built days, since it keeps the others. The model itself is never
    refreshed, but a full refresh of all models names no days. -#}
{% macro rows_to_register() -%}
  {%- if not execute or flags.FULL_REFRESH or not is_incremental() -%}
    {{ every_row() }}
  {%- else -%}
    {{ rows_of_build_days() }}
  {%- endif -%}
{%- endmacro %}
