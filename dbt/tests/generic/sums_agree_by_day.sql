{#- `figure` and `other_figure` (aggregates) have the same value on each day, also on days only one side has.
    `of` restricts the model, `other_of` the other relation. -#}
{% test sums_agree_by_day(model, figure, other, other_figure, of='true', other_of='true') %}
with own as (
    select
        date,
        {{ figure }} as figure
    from {{ model }}
    where {{ of }}
    group by date
),

others as (
    select
        date,
        {{ other_figure }} as figure
    from {{ other }}
    where ({{ other_of }}) and ({{ tested_days(other) }})
    group by date
)

select
    coalesce(own.date, others.date) as date,
    own.figure as figure,
    others.figure as other_figure
from own
full outer join others on own.date = others.date
where coalesce(own.figure, 0) != coalesce(others.figure, 0)
{% endtest %}
