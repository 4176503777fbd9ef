"""Where links of the dashboards lead: the application, runbooks, Dagster, a draft of an incident."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from audit_assets.dashboards.plotting import link_to

ALL_CAPABILITIES = "all capabilities"  # of an alert over all of them: no filter leads there

_RULE_OF_STATE = {"spike": "volume_spike", "drop": "volume_drop"}


@dataclass(frozen=True)
class Addresses:
    """Addresses outside the dashboards; an empty one leaves its link out."""

    app: str = ""
    docs: str = ""
    dagster: str = ""
    draft: Callable[[str], str] = lambda _: ""  # title → the form of an incident
    runbooks: Mapping[str, str] = field(default_factory=dict[str, str])  # rule → section of the runbook page

    def runbook(self, rule: str) -> str:
        """The section of a rule, or the page where the rule is not known."""
        if not self.docs:
            return ""
        return f"{self.docs.rstrip('/')}/INGESTION_WORKFLOW.md#{self.runbooks.get(rule, 'incident-response')}"

    def of_row(self, template: str, row: Mapping[str, object]) -> str:
        """The address of a row's link; empty where there is no such place."""
        rule = str(row.get("rule_id") or _RULE_OF_STATE.get(str(row.get("deviation_state")), ""))
        if template == "{runbook}":
            return self.runbook(rule) if rule else ""
        if template == "{draft}":
            return (
                self.draft(f"AI Copilot Audit: {row['capability']} {row['deviation_state']} on {row['date']}")
                if rule
                else ""
            )
        if template.startswith("{app}"):
            return f"{self.app.rstrip('/')}{link_to(template.removeprefix('{app}'), row, '')}"
        if row.get("capability") == ALL_CAPABILITIES:
            template = template.replace("capability={capability}", "")
        return link_to(template, row, "")
