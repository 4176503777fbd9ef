{#- What only ai_audit_capabilities needs. -#}

{#- What it joins where it does not exist yet: no rows, of the registry's types. -#}
{% macro empty_registry() -%}
  (select environment, capability, first_seen_at, first_seen_at as registered_at, true as registered_silently from seen where false)
{%- endmacro %}

{#- The rows of staging it reads: those of the built days, since it remembers the others. It is never refreshed itself,
    but a refresh of everything names no days. -#}
{% macro rows_to_register() -%}
  {%- if not execute or flags.FULL_REFRESH or not is_incremental() -%}
    {{ every_row() }}
  {%- else -%}
    {{ rows_of_build_days() }}
  {%- endif -%}
{%- endmacro %}
