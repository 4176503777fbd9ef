{#- Key columns of a series in a select list, and as a join condition. -#}

{% macro qualified_columns(keys, relation) -%}
  {%- for column in keys %}{{ relation }}.{{ column }}{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}

{% macro join_condition(keys, left, right) -%}
  {%- for column in keys %}{{ left }}.{{ column }} = {{ right }}.{{ column }}{{ ' and ' if not loop.last }}{% endfor -%}
{%- endmacro %}
