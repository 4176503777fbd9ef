{#- What ai_audit_capabilities joins where it does not exist yet: no rows, of the registry's types. -#}
{% macro empty_registry() -%}
  (select capability, first_seen_at as registered_at, true as registered_silently from seen where false)
{%- endmacro %}
