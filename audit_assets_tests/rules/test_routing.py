"""Routes: who is told, and what is said of a file that tells nobody."""

from pathlib import Path

import pytest

from audit_assets.rules.routing import RoutingError, read_routing
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.rules.made import shipped, shipped_rules

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


def refusal(folder: Path, text: str) -> str:
    path = folder / "routing.yaml"
    path.write_text(text)
    with pytest.raises(RoutingError) as caught:
        read_routing(path)
    return str(caught.value)


def test_the_shipped_routes_call_the_playbooks_people_and_wait_for_a_drill():
    on_call = read_routing(SHIPPED).routes["on_call"]
    assert on_call.pagerduty is not None
    assert on_call.pagerduty.service == "ai-audit-observability"
    assert on_call.pagerduty.escalation == ("Data Platform on-call", "Compliance lead")
    assert (on_call.slack, on_call.hold_until_drill) == ("#ai-copilot-ops", True)


def test_what_is_an_error_wakes_someone_and_what_is_not_does_not():
    routing = read_routing(SHIPPED)
    assert {rule.id: routing.pages(rule) for rule in shipped_rules().rules} == {
        rule.id: rule.severity == "error" for rule in shipped_rules().rules
    }
    assert not routing.pages(shipped("new_capability"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("slack:", "slak:", "routing.yaml:7: routes.ops.slak: unknown field; did you mean slack?"),
        ('"#ops"', "ops", "routing.yaml:7: routes.ops.slack: 'ops' is not usable"),
        ('slack: "#ops"', "ticket: jira", "routing.yaml:7: routes.ops.ticket: 'jira' is not usable"),
        ('slack: "#ops"', "ticket: jira:audit", "routing.yaml:7: routes.ops.ticket: 'jira:audit' is not usable"),
        ("[a]", "[]", "routing.yaml:4: routes.on_call.pagerduty.escalation: [] is not usable"),
        ('    slack: "#ops"\n', "", "routing.yaml:5: routes.ops: tells nobody; give it slack, pagerduty or a ticket"),
    ],
)
def test_a_wrong_route_is_told_at_its_line(tmp_path: Path, old: str, new: str, said: str):
    assert refusal(tmp_path, PLAIN.replace(old, new)).startswith(said)


@pytest.mark.requirement("R47")
@pytest.mark.parametrize("ticket", ["webhook", "jira:AUDIT", "jira:AI_2/Service Request"])
def test_a_ticket_alone_is_a_route(tmp_path: Path, ticket: str):
    path = tmp_path / "routing.yaml"
    path.write_text(PLAIN.replace('slack: "#ops"', f"ticket: {ticket}"))
    assert read_routing(path).routes["ops"].ticket == ticket


def test_the_shipped_routes_file_no_tickets():
    assert [route.ticket for route in read_routing(SHIPPED).routes.values() if route.ticket] == []


def test_a_missing_file_says_where_it_is_looked_for(tmp_path: Path):
    with pytest.raises(RoutingError, match="No such file or directory; the routes lie beside the folder of rules"):
        read_routing(tmp_path / "routing.yaml")
