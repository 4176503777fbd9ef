"""URLs outside the dashboards: the application, runbooks, Dagster, and drafts of incidents."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from audit_assets.dashboards.definition.model import RowLink
from audit_assets.dashboards.render.plotting import link_to

_RULE_OF_STATE = {"spike": "volume_spike", "drop": "volume_drop"}


@dataclass(frozen=True)
class Links:
    """URLs outside the dashboards; a link with an empty URL is left out."""

    app: str = ""
    docs: str = ""
    dagster: str = ""
    draft: Callable[[str], str] = lambda _: ""  # title → URL of a prefilled incident form
    runbooks: Mapping[str, str] = field(default_factory=dict[str, str])  # rule id → section of the runbook page

    def runbook(self, rule: str) -> str:
        """The URL of a rule's runbook section, or of the incident response section for an unknown rule."""
        if not self.docs:
            return ""
        return f"{self.docs.rstrip('/')}/INGESTION_WORKFLOW.md#{self.runbooks.get(rule, 'incident-response')}"

    def of_row(self, link: RowLink, row: Mapping[str, object]) -> str:
        """The URL of a row's link; empty if there is none."""
        template = link.href
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
        if link.unless is not None and row.get(link.unless):
            template = template.partition("?")[0]
        return link_to(template, row, "")
