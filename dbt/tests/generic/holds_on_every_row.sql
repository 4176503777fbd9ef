{#- The expression is true on every row; null is not. -#}
{% test holds_on_every_row(model, expression) %}
select *
from {{ model }}
where ({{ expression }}) is not true
{% endtest %}
