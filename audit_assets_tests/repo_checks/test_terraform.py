"""PagerDuty's Terraform code agrees with routing.yaml, contains no secret, and is formatted like `terraform fmt`."""

import re
import shutil
import subprocess

import pytest

from audit_assets.rules.load import rule_files
from audit_assets.rules.routing import read_routing
from audit_assets.settings import PROJECT_ROOT

pytestmark = pytest.mark.requirement("R43")

FOLDER = PROJECT_ROOT / "observability/alerts/ai-audit"
FILES = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.tf"))}
ROUTING = PROJECT_ROOT / "observability/alerts/routing.yaml"


def code(text: str) -> str:
    """`text` without comments and quoted strings."""
    return re.sub(r"#.*", "", re.sub(r'"(?:[^"\\]|\\.)*"', '""', text))


def badly_aligned(text: str) -> list[str]:
    """Adjacent argument lines whose `=` are not aligned, and lines whose indent is not a multiple of 2 spaces."""
    found: list[str] = []
    before: tuple[int, int, bool] | None = None  # indent, column of `=`, whether its value ends on its line
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent % 2:
            found.append(line)
        argument = re.match(r"\s*[\w-]+ *= ", line)
        now = (indent, line.index("="), line.rstrip()[-1] not in "({[") if argument else None
        if now and before and now[2] and before[2] and before[0] == now[0] and before[1] != now[1]:
            found.append(line)
        before = now
    return found


def test_the_four_files_are_there_and_are_no_rules():
    assert set(FILES) == {"main.tf", "outputs.tf", "variables.tf", "versions.tf"}
    assert {path.suffix for path in rule_files(FOLDER)} == {".yaml"}


def test_names_come_from_the_routing_file_and_are_written_nowhere_else():
    paging = [route.pagerduty for route in read_routing(ROUTING).routes.values() if route.pagerduty is not None]
    assert [service.service for service in paging] == ["ai-audit-observability"]
    assert paging[0].escalation == ("Data Platform on-call", "Compliance lead")
    main = FILES["main.tf"]
    assert 'yamldecode(file("${path.module}/../routing.yaml"))' in main
    assert "local.paging[0].service" in main
    assert "for_each = local.escalation" in main
    everything = "".join(FILES.values()).replace("docs/ai-audit-observability.md", "")
    assert [name for name in (paging[0].service, *paging[0].escalation) if name in everything] == []


def test_pagerdutys_own_posts_go_to_a_channel_of_their_own():
    channels = {route.slack for route in read_routing(ROUTING).routes.values() if route.slack}
    assert channels
    assert re.search(r"channel_id\s+= var\.slack_pages_channel_id", FILES["main.tf"])
    assert not any(channel in text for channel in channels for text in FILES.values())


def test_a_drill_is_suppressed_by_what_our_events_say_of_it():
    from audit_assets_tests.alerting.golden import payloads

    payload = payloads()["pagerduty/drill"]["payload"]
    expressions = re.findall(r"expression = \"event\.(\w+) matches (?:regex )?'([^']+)'\"", FILES["main.tf"])
    assert {field for field, _ in expressions} == {"group", "summary"}
    for field, pattern in expressions:
        assert re.search(pattern, payload[field]), field


@pytest.mark.parametrize("name", FILES)
def test_a_files_braces_balance(name: str):
    text = code(FILES[name])
    assert [text.count(sign) for sign in "{(["] == [text.count(sign) for sign in "})]"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_holds_no_secret(name: str):
    assert not re.findall(r"(?im)^\s*\w*(?:token|secret|password|integration_key)\w*\s*=\s*\"", FILES[name])
    assert not re.findall(r"\b(?=[a-z0-9]*\d)[a-z0-9]{20,}\b", FILES[name], re.IGNORECASE)
    assert "sensitive   = true" in FILES["outputs.tf"]


def test_states_and_variables_of_an_account_are_not_committed():
    ignored = (PROJECT_ROOT / ".gitignore").read_text()
    assert {".terraform/", "*.tfstate", "*.tfvars"} <= set(ignored.split())


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_aligned(name: str):
    assert badly_aligned(FILES[name]) == []
    assert FILES[name].endswith("}\n")


def test_terraform_finds_nothing_to_format():
    binary = shutil.which("terraform") or shutil.which("tofu")
    if binary is None:
        pytest.skip("neither terraform nor tofu is installed; the alignment was checked by test_a_file_is_aligned")
    run = subprocess.run([binary, "fmt", "-check", "-diff", str(FOLDER)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout
