"""The rule in the README loads and passes its examples."""

import re
from pathlib import Path
from textwrap import dedent

import pytest

from audit_assets.rules.load import load_rule, run_examples
from audit_assets.rules.model import Rule
from audit_assets.settings import PROJECT_ROOT


@pytest.mark.requirement("R37")
def test_the_rule_in_the_readme_loads_and_does_what_its_examples_say(tmp_path: Path):
    found = re.search(r"```yaml\n(.*?)```", (PROJECT_ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    text = dedent("   " + found[1].removeprefix("   "))
    path = tmp_path / f"{re.findall(r'^id: (.+)$', text, re.MULTILINE)[0]}.yaml"
    path.write_text(text)
    rule = load_rule(path)
    assert isinstance(rule, Rule), rule
    assert all(run.passed for run in run_examples(rule))
