"""The JSON Schema of a rule file, so that editors complete it and mark what is wrong while it is written; pure."""

import json
from typing import Any

from audit_assets.rules.model import Rule

# What a number or a condition may be in YAML; the model reads both as an expression.
_EXPRESSION: dict[str, Any] = {"anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}]}


def rule_schema() -> str:
    """The schema as text, ready to be written beside the rule files."""
    schema = Rule.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "An alert rule"
    properties: dict[str, Any] = schema["properties"]
    properties["for"] = {
        "type": "string",
        "pattern": "^[1-9][0-9]? of [1-9][0-9]?$",
        "default": "1 of 1",
        "description": properties["for"]["description"],
    }
    properties["keep_firing"] = {
        "type": "string",
        "pattern": "^[0-9]+[smhd]$",
        "description": properties["keep_firing"]["description"],
    }
    for known in (properties, *(schema["$defs"][name]["properties"] for name in ("Form", "Figures"))):
        for name in ("fires_when", "value", "baseline", "threshold", "clears_when", "judgeable_when"):
            if name in known:
                known[name] = {**_EXPRESSION, "description": known[name]["description"]}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
