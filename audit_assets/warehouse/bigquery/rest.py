"""Google's REST APIs for which no client is installed: JSON in, JSON out, errors in a sentence with the mend."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import requests

from audit_assets.warehouse.protocol import WarehouseError

_SECONDS = 30
_PERMISSION = re.compile(r"\b((?:bigquery|datacatalog|resourcemanager)\.[A-Za-z]+\.[A-Za-z]+)\b")


class Rest:
    """Asks with a session that signs requests; `open_session` is called when the first is sent."""

    def __init__(self, open_session: Callable[[], requests.Session]) -> None:
        self._open = open_session
        self._session: requests.Session | None = None

    def get(self, address: str, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The answer. Raises WarehouseError, as all of them do."""
        return self._asked("GET", address, parameters, None)

    def pages(self, address: str, field: str, parameters: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """The items of a listing, over all its pages."""
        token = ""
        while True:
            page = self.get(address, {**(parameters or {}), **({"pageToken": token} if token else {})})
            yield from page.get(field, ())
            token = page.get("nextPageToken", "")
            if not token:
                return

    def post(self, address: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._asked("POST", address, None, body)

    def patch(self, address: str, body: Mapping[str, Any], mask: str) -> dict[str, Any]:
        """Changes the fields of `mask`."""
        return self._asked("PATCH", address, {"updateMask": mask}, body)

    def delete(self, address: str) -> None:
        self._asked("DELETE", address, None, None)

    def _asked(
        self, verb: str, address: str, parameters: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        if self._session is None:
            self._session = self._open()
        about = address.split("?")[0].split("/projects/")[-1]
        try:
            answer = self._session.request(verb, address, params=parameters, json=body, timeout=_SECONDS)
        except requests.RequestException as error:
            raise WarehouseError(
                f"{about}: nothing answers at {address.split('/')[2]} ({type(error).__name__})"
            ) from None
        document = _json(answer)
        if answer.status_code >= 400:
            said = document.get("error", {})
            message = said.get("message", "") if isinstance(said, dict) else str(said)
            raise WarehouseError(f"{about}: {mended(message or answer.reason, answer.status_code)}")
        return document


def mended(message: str, status: int | None) -> str:
    """What Google said, and what mends it."""
    said = message.strip().rstrip(".")[:400]
    missing = _PERMISSION.search(message)
    if status == 403 and missing:
        return f"{said}; the account that applies lacks {missing[1]}: give it a role that has it, then apply again"
    match status:
        case 401:
            return f"{said}; sign in with `gcloud auth application-default login`"
        case 403:
            return f"{said}; the account that applies lacks a right, or an API is not enabled in the project"
        case 404:
            return f"{said}; it was there when the plan was made: plan again"
        case 409 | 412:
            return f"{said}; somebody else changed it meanwhile: plan again"
        case 429:
            return f"{said}; Google's limit on such changes is reached: wait a minute, then apply again"
        case _:
            return said


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
