{#- Lists of columns, in a select list and as a join condition. -#}

{% macro qualified_columns(keys, relation) -%}
  {%- for column in keys %}{{ relation }}.{{ column }}{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}

{% macro join_condition(keys, left, right) -%}
  {%- for column in keys %}{{ left }}.{{ column }} = {{ right }}.{{ column }}{{ ' and ' if not loop.last }}{% endfor -%}
{%- endmacro %}

{#- The names count_1, count_2, … for the prefix `count_` and the numbers 1, 2, … -#}
{% macro numbered(prefix, numbers) -%}
  {%- set names = [] -%}
  {%- for number in numbers %}{% do names.append(prefix ~ number) %}{% endfor -%}
  {{ return(names) }}
{%- endmacro %}
