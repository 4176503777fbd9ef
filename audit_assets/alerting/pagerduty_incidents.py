"""PagerDuty's REST API v2, read only, as one call: who acknowledged the incident of a key, if anybody did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlencode

from pydantic import SecretStr

from audit_assets.alerting.http_answer import Answer, is_success, json_object, kind_of_status, retry_after, short_line
from audit_assets.alerting.http_request import fetched
from audit_assets.alerting.outcome import Outcome
from audit_assets.alerting.outside_text import shown
from audit_assets.settings import Settings

API_URL = "https://api.pagerduty.com"
TIMEOUT = 5.0  # seconds: what is only nice to know is not waited for as a page is

_VERSION = "application/vnd.pagerduty+json;version=2"
_STATUSES = ("acknowledged", "triggered", "resolved")
_NOBODY_NAMED = "somebody"
_MENDS = {
    401: "PAGERDUTY_API_TOKEN takes a read-only REST API key of the account, and not a routing key",
    403: "PAGERDUTY_API_TOKEN takes a read-only REST API key that may read this service's incidents",
}


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """That somebody took an incident: when (UTC), and their name at PagerDuty, fit to be shown."""

    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class PagerDutyIncidents:
    """Reads with one token of the account, within `timeout` seconds a call. Neither shown nor told: the token."""

    token: SecretStr
    api_url: str = API_URL
    timeout: float = TIMEOUT

    def acknowledgement(self, key: str) -> Acknowledgement | Outcome | None:
        """The first acknowledgement of the incident with this dedup key; None where nobody has taken it, or where it
        is resolved: PagerDuty lists none then. Trouble is an Outcome, `retry` or `parked`."""
        # PagerDuty finds an incident by the keys of its alerts too, and looks back a month unless told otherwise.
        asked = [("incident_key", key), *(("statuses[]", status) for status in _STATUSES), ("date_range", "all")]
        token = self.token.get_secret_value().strip()
        headers = {"Authorization": f"Token token={token}", "Accept": _VERSION}
        answer = fetched(f"{self.api_url.rstrip('/')}/incidents?{urlencode(asked)}", headers, self.timeout)
        if isinstance(answer, Outcome):
            mend = "; see PAGERDUTY_API_TOKEN and PAGERDUTY_API_URL" if answer.kind == "parked" else ""
            return replace(answer, said=f"{answer.said}{mend}")
        found = _incidents(answer)
        if found is None:
            return _trouble(answer, token)
        try:
            return min(_acknowledgements(found), key=lambda one: one.at, default=None)
        except (KeyError, TypeError, ValueError):
            return Outcome("retry", "an acknowledgement of a form that is not known")


def incidents_of(settings: Settings) -> PagerDutyIncidents | None:
    """PagerDuty's incidents as the environment lets them be read; None without a token, or where nothing is to be sent:
    then nobody is asked."""
    if settings.pagerduty_api_token is None or not settings.send:
        return None
    return PagerDutyIncidents(settings.pagerduty_api_token, settings.pagerduty_api_url)


def _incidents(answer: Answer) -> list[Any] | None:
    """What a good answer lists; None for any other."""
    document = json_object(answer.text) if is_success(answer.status) else None
    listed = (document or {}).get("incidents")
    return cast("list[Any]", listed) if isinstance(listed, list) else None


def _acknowledgements(incidents: Iterable[Any]) -> Iterable[Acknowledgement]:
    """Those of all incidents. Raises KeyError, TypeError or ValueError where one is not as it is documented."""
    for incident in incidents:
        for one in incident["acknowledgements"]:
            at = datetime.fromisoformat(one["at"])
            if at.tzinfo is None:
                raise ValueError("a time that says no zone")
            yield Acknowledgement(at.astimezone(UTC), _name(one.get("acknowledger")))


def _name(acknowledger: Any) -> str:
    """A person, or a service that acknowledges by itself. One that was deleted may have no name left."""
    named = cast("Mapping[str, Any]", acknowledger).get("summary") if isinstance(acknowledger, dict) else None
    return shown(named) if isinstance(named, str) and named.strip() else _NOBODY_NAMED


def _trouble(answer: Answer, token: str) -> Outcome:
    said = short_line(f"{answer.status} {_words(answer)}", [token])
    if is_success(answer.status):
        return Outcome("retry", said)
    kind = kind_of_status(answer.status)
    if kind == "parked":
        return Outcome("parked", f"{said}; {_MENDS.get(answer.status, 'is PAGERDUTY_API_URL the REST API?')}")
    return Outcome("retry", said, retry_after=retry_after(answer.retry_after, datetime.now(UTC)))


def _words(answer: Answer) -> str:
    """PagerDuty's own words, `{"error": {"message": …}}`, or the text where there are none."""
    error = (json_object(answer.text) or {}).get("error")
    message = cast("Mapping[str, Any]", error).get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) and message else answer.text
