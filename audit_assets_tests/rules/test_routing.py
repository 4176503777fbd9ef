"""Routes: who is notified, and the errors of an invalid routing file."""

from pathlib import Path

import pytest

from audit_assets.rules.routing import RoutingError, read_routing
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.rules.factories import shipped, shipped_rules

pytestmark = pytest.mark.requirement("R37", "R39")

SHIPPED = PROJECT_ROOT / "observability/alerts/routing.yaml"
PLAIN = """\
routes:
  on_call:
    description: Someone is woken.
    pagerduty: {service: s, escalation: [a]}
  ops:
    description: Read.
    slack: "#ops"
"""


def error_of(folder: Path, text: str) -> str:
    path = folder / "routing.yaml"
    path.write_text(text)
    with pytest.raises(RoutingError) as caught:
        read_routing(path)
    return str(caught.value)


def test_the_shipped_routes_page_the_playbooks_escalation_and_are_held_until_a_drill():
    on_call = read_routing(SHIPPED).routes["on_call"]
    assert on_call.pagerduty is not None
    assert on_call.pagerduty.service == "ai-audit-observability"
    assert on_call.pagerduty.escalation == ("Data Platform on-call", "Compliance lead")
    assert (on_call.slack, on_call.hold_until_drill) == ("#ai-copilot-ops", True)


def test_only_rules_of_severity_error_or_higher_page():
    routing = read_routing(SHIPPED)
    assert {rule.id: routing.pages(rule) for rule in shipped_rules().rules} == {
        rule.id: rule.severity == "error" for rule in shipped_rules().rules
    }
    assert not routing.pages(shipped("new_capability"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("slack:", "slak:", "routing.yaml:7: routes.ops.slak: unknown field; did you mean slack?"),
        ('"#ops"', "ops", "routing.yaml:7: routes.ops.slack: 'ops' is not valid"),
        ('slack: "#ops"', "ticket: jira", "routing.yaml:7: routes.ops.ticket: 'jira' is not valid"),
        ('slack: "#ops"', "ticket: jira:audit", "routing.yaml:7: routes.ops.ticket: 'jira:audit' is not valid"),
        ("[a]", "[]", "routing.yaml:4: routes.on_call.pagerduty.escalation: [] is not valid"),
        ('    slack: "#ops"\n', "", "routing.yaml:5: routes.ops: has no destination; add slack, pagerduty or ticket"),
    ],
)
def test_an_invalid_route_is_reported_at_its_line(tmp_path: Path, old: str, new: str, message: str):
    assert error_of(tmp_path, PLAIN.replace(old, new)).startswith(message)


@pytest.mark.requirement("R47")
@pytest.mark.parametrize("ticket", ["webhook", "jira:AUDIT", "jira:AI_2/Service Request"])
def test_a_ticket_alone_is_a_route(tmp_path: Path, ticket: str):
    path = tmp_path / "routing.yaml"
    path.write_text(PLAIN.replace('slack: "#ops"', f"ticket: {ticket}"))
    assert read_routing(path).routes["ops"].ticket == ticket


def test_the_shipped_routes_file_no_tickets():
    assert [route.ticket for route in read_routing(SHIPPED).routes.values() if route.ticket] == []


def test_a_missing_routing_file_is_reported_with_its_expected_location(tmp_path: Path):
    with pytest.raises(RoutingError, match=r"No such file or directory; routing\.yaml belongs beside"):
        read_routing(tmp_path / "routing.yaml")
