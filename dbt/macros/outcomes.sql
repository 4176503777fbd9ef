{#- Macros of int_ai_audit_trailing_outcomes and of the tests that recount it. -#}

{#- The counts of a step, which add up over steps. -#}
{% macro outcome_counts() %}
  {{ return(['interaction_count', 'success_count', 'error_count', 'unknown_count', 'workspace_known_count']) }}
{% endmacro %}

{#- The lower end of Wilson's score interval of a share among `count` (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927,
    209-212). Null if the share is null; never below zero by rounding. -#}
{% macro wilson_low(share, count) -%}
  {%- set z = var('outcome_z') -%}
  case
    when {{ share }} is not null
      then greatest(0, (
        {{ share }} + {{ z * z / 2 }} / {{ count }}
        - {{ z }} * sqrt({{ share }} * (1 - {{ share }}) / {{ count }} + {{ z * z / 4 }} / ({{ count }} * {{ count }}))
      ) / (1 + {{ z * z }} / {{ count }}))
  end
{%- endmacro %}

{#- The marts' column names for each span of minutes. -#}
{% macro numbered_by_span(columns, spans) -%}
  {%- set names = [] -%}
  {%- for span in spans -%}
  {%- for column in columns -%}{%- do names.append(column ~ '_' ~ span ~ 'm') -%}{%- endfor -%}
  {%- endfor -%}
  {{ return(names) }}
{%- endmacro %}
