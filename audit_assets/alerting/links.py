"""The links in messages, URL-encoded: the dashboard and raw logs of a capability, the runbook of a rule."""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

RUNBOOK_PAGE = "INGESTION_WORKFLOW.md"


@dataclass(frozen=True, slots=True)
class Links:
    """The base URLs of the links in messages; a link whose base URL is empty is left out."""

    dashboard_url: str
    docs_url: str
    pagerduty_url: str = ""  # the web address of the account
    pagerduty_service_id: str = ""

    def dashboard(self, capability: str) -> str:
        """The overview page, filtered to one capability; its name may contain any character."""
        if not self.dashboard_url:
            return ""
        return f"{self.dashboard_url.rstrip('/')}/audit-overview?capability={encode(capability)}"

    def raw_logs(self, capability: str, start: datetime, end: datetime) -> str:
        """The audit log's rows of one capability (empty: all capabilities) in [start, end), UTC."""
        if not self.dashboard_url:
            return ""
        parameters = {"capability": capability, "from": _instant(start), "to": _instant(end)}
        query = "&".join(f"{name}={encode(text)}" for name, text in parameters.items() if text)
        return f"{self.dashboard_url.rstrip('/')}/audit-log?{query}"

    def runbook(self, anchor: str) -> str:
        if not self.docs_url:
            return ""
        return f"{self.docs_url.rstrip('/')}/{RUNBOOK_PAGE}#{quote(anchor, safe='')}"


def encode(text: str) -> str:
    """`text` encoded for a query string. The tilde is encoded as well: Slack strikes text through if it reads a URL as
    text."""
    return quote(text, safe="", errors="replace").replace("~", "%7E")


def is_web_address(link: str) -> bool:
    """Whether `link` is a web address that a message may contain. `docs/…`, a file of the repository, is useful on a
    terminal only."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and link.isprintable() and " " not in link


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
