"""Where a message leads: the dashboard of a capability and the runbook of a rule, encoded."""

from dataclasses import dataclass
from urllib.parse import quote

RUNBOOK_PAGE = "INGESTION_WORKFLOW.md"


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses messages lead to; an empty one leaves its link out."""

    dashboard_url: str
    docs_url: str

    def dashboard(self, capability: str) -> str:
        """The overview, filtered to one capability, whatever characters its name holds."""
        if not self.dashboard_url:
            return ""
        chosen = quote(capability, safe="", errors="replace")
        return f"{self.dashboard_url.rstrip('/')}/audit-overview?capability={chosen}"

    def runbook(self, anchor: str) -> str:
        if not self.docs_url:
            return ""
        return f"{self.docs_url.rstrip('/')}/{RUNBOOK_PAGE}#{quote(anchor, safe='')}"
