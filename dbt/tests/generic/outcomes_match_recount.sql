{#- The outcomes of the 15 and the 60 minutes up to a step's end equal a recount of the steps' own counts, by windows
    instead of a join; the base rate is recounted from the grid's days. `series` are the columns that identify a series,
    `grid` is the grid of the same series. -#}
{% test outcomes_match_recount(model, series, grid) %}
{%- set minutes = var('outcome_step_minutes') -%}
{%- set spans = [15, 60] -%}
{%- set key = series | join(', ') -%}
{%- set counts = outcome_counts() -%}
{%- set since_1970 = seconds_between(timestamp_literal('1970-01-01 00:00:00'), 'step_start') -%}
with own as (
    select *
    from {{ model }}
    where {{ days_up_to_built(0) }}
),

steps as (
    select
        {{ key }},
        step_start,
        {{ integer_divide(since_1970, 60 * minutes) }} as step_number,
        {{ counts | join(', ') }},
        first_error_workspace,
        last_error_workspace
    from {{ model }}
    where {{ days_up_to_built(1) }}
),

spans as (
    select
        {{ key }},
        step_start,
        {%- for span in spans %}
        {%- for count in counts %}
        {{ as_count('sum(' ~ count ~ ') over last_' ~ span ~ 'm') }} as {{ count }}_{{ span }}m,
        {%- endfor %}
        coalesce(min(first_error_workspace) over last_{{ span }}m < max(last_error_workspace) over last_{{ span }}m, false)
            as errors_in_two_workspaces_{{ span }}m{{ ',' if not loop.last }}
        {%- endfor %}
    from steps
    window
        {%- for span in spans %}
        last_{{ span }}m as (
            partition by {{ key }} order by step_number
            range between {{ span // minutes - 1 }} preceding and current row
        ){{ ',' if not loop.last }}
        {%- endfor %}
),

grid_days as (
    select
        {{ key }},
        date,
        sum(success_count) as success_count,
        sum(error_count) as error_count
    from {{ grid }}
    where {{ days_up_to_built(14) }}
    group by {{ key }}, date
),

evaluated_days as (
    select distinct {{ key }}, date
    from own
),

base_rates as (
    select
        {{ qualified_columns(series, 'evaluated_days') }},
        evaluated_days.date,
        case
            when sum(grid_days.success_count) + sum(grid_days.error_count) >= {{ var('base_rate_minimum') }}
                then sum(grid_days.error_count) / (sum(grid_days.success_count) + sum(grid_days.error_count))
        end as base_error_rate
    from evaluated_days
    inner join grid_days
        on
            {{ join_condition(series, 'evaluated_days', 'grid_days') }}
            and grid_days.date < evaluated_days.date
            and grid_days.date >= {{ add_days('evaluated_days.date', -14) }}
    group by {{ qualified_columns(series, 'evaluated_days') }}, evaluated_days.date
),

recounted as (
    select
        {{ qualified_columns(series, 'own') }},
        own.step_start,
        {%- for span in spans %}
        {%- for count in counts %}
        spans.{{ count }}_{{ span }}m,
        {%- endfor %}
        spans.errors_in_two_workspaces_{{ span }}m,
        spans.error_count_{{ span }}m
        / nullif(spans.interaction_count_{{ span }}m - spans.unknown_count_{{ span }}m, 0) as error_rate_{{ span }}m,
        {#- At the ends of Wilson's interval the observed rate is z standard deviations of a share from the true rate.
            -#}
        case
            when own.error_rate_{{ span }}m is null then null
            when
                own.error_rate_{{ span }}m_low between 0 and own.error_rate_{{ span }}m + 1e-9
                and abs(
                    own.error_rate_{{ span }}m - own.error_rate_{{ span }}m_low
                    - {{ var('outcome_z') }} * sqrt(
                        own.error_rate_{{ span }}m_low * (1 - own.error_rate_{{ span }}m_low)
                        / (own.success_count_{{ span }}m + own.error_count_{{ span }}m)
                    )
                ) < 1e-6
                and (own.error_rate_{{ span }}m_low < own.error_rate_{{ span }}m or own.error_count_{{ span }}m = 0)
                then own.error_rate_{{ span }}m_low
            else -1
        end as error_rate_{{ span }}m_low,
        {%- endfor %}
        spans.unknown_count_60m / nullif(spans.interaction_count_60m, 0) as unknown_rate_60m,
        base_rates.base_error_rate
    from own
    inner join spans on {{ join_condition(series, 'own', 'spans') }} and own.step_start = spans.step_start
    left join base_rates on {{ join_condition(series, 'own', 'base_rates') }} and own.date = base_rates.date
)

{{ rows_that_differ(
    series + ['step_start'],
    exact=numbered_by_span(counts + ['errors_in_two_workspaces'], spans),
    approximate=[
        'error_rate_15m', 'error_rate_15m_low', 'error_rate_60m', 'error_rate_60m_low', 'unknown_rate_60m',
        'base_error_rate'
    ]
) }}
{% endtest %}
