{#- The status words: `source.statuses` of observability/sync.yaml, passed in AI_AUDIT_STATUSES as a JSON object of
    class → words. They are read only while executing, like the window of a build (build_window.sql). -#}

{% macro status_words() %}
  {%- if not execute -%}{{ return({'success': [], 'error': [], 'unknown': []}) }}{%- endif -%}
  {%- set given = env_var('AI_AUDIT_STATUSES', '') -%}
  {%- if not given -%}
    {{ exceptions.raise_compiler_error(
      "AI_AUDIT_STATUSES is not set: run `audit build`, which takes it from source.statuses in observability/sync.yaml, "
      ~ "or set it to a JSON object such as {\"success\": [\"ok\"], \"error\": [\"failed\"], \"unknown\": [\"pending\"]}"
    ) }}
  {%- endif -%}
  {{ return(fromjson(given)) }}
{% endmacro %}

{#- A status (trimmed, lower case) in the form used for comparison: only the HTTP code, or a word without separators.
    -#}
{% macro status_word(status) -%}
  coalesce(
    nullif({{ regexp_first_group(status, '^(?:http(?:/[0-9.]+)? *)?([1-5][0-9][0-9])(?:[.]0+)?(?:[ :].*)?$') }}, ''),
    replace(replace(replace({{ status }}, ' ', ''), '_', ''), '-', '')
  )
{%- endmacro %}

{#- The class of such a word: success, error or unknown; null if no list has it. -#}
{% macro status_class(word) -%}
  {%- set classes = status_words() -%}
  case
    {%- for class, words in classes.items() if words %}
    when {{ word }} in ('{{ words | join("', '") }}') then '{{ class }}'
    {%- endfor %}
    {%- for class, words in classes.items() %}
    {%- for digit in '12345' if digit ~ 'xx' in words %}
    when regexp_extract({{ word }}, '^{{ digit }}[0-9][0-9]$') = {{ word }} then '{{ class }}'
    {%- endfor %}
    {%- endfor %}
    when {{ word }} is null then 'unknown'
  end
{%- endmacro %}
