{#- Key columns of a series, in a select or a join. -#}

{% macro prefixed(keys, relation) -%}
  {%- for column in keys %}{{ relation }}.{{ column }}{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}

{% macro same(keys, left, right) -%}
  {%- for column in keys %}{{ left }}.{{ column }} = {{ right }}.{{ column }}{{ ' and ' if not loop.last }}{% endfor -%}
{%- endmacro %}
