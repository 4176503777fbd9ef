"""Where a message leads: dashboard and raw logs of a capability, the runbook of a rule, encoded."""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

RUNBOOK_PAGE = "INGESTION_WORKFLOW.md"


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses messages lead to; an empty one leaves its link out."""

    dashboard_url: str
    docs_url: str
    pagerduty_url: str = ""  # the account's web address
    pagerduty_service_id: str = ""

    def dashboard(self, capability: str) -> str:
        """The overview, filtered to one capability, whatever characters its name holds."""
        if not self.dashboard_url:
            return ""
        return f"{self.dashboard_url.rstrip('/')}/audit-overview?capability={encoded(capability)}"

    def raw_logs(self, capability: str, start: datetime, end: datetime) -> str:
        """The audit log's rows of one capability (empty: of all) and of [start, end), UTC."""
        if not self.dashboard_url:
            return ""
        asked = {"capability": capability, "from": _instant(start), "to": _instant(end)}
        query = "&".join(f"{name}={encoded(text)}" for name, text in asked.items() if text)
        return f"{self.dashboard_url.rstrip('/')}/audit-log?{query}"

    def runbook(self, anchor: str) -> str:
        if not self.docs_url:
            return ""
        return f"{self.docs_url.rstrip('/')}/{RUNBOOK_PAGE}#{quote(anchor, safe='')}"


def encoded(text: str) -> str:
    """`text` as a part of a query. The tilde too, which strikes text through where Slack reads an address as text."""
    return quote(text, safe="", errors="replace").replace("~", "%7E")


def is_web_address(link: str) -> bool:
    """Whether a message may lead there: `docs/…`, a file of the repository, is an address on a terminal only."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and link.isprintable() and " " not in link


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
