"""BigQuery's errors for a person to read: what went wrong, and what mends it."""

from collections.abc import Generator
from contextlib import contextmanager

from audit_assets.warehouse.bigquery.client import Place
from audit_assets.warehouse.protocol import WarehouseError

# A job that ended for one of these did nothing, and may be asked for again.
TRANSIENT = frozenset({"backendError", "internalError", "rateLimitExceeded", "jobBackendError", "jobInternalError"})

_MENDS = {
    "accessDenied": "grant this account roles/bigquery.dataEditor on the dataset and roles/bigquery.jobUser on the "
    "project (docs/bigquery.md)",
    "quotaExceeded": "a quota is used up: docs/bigquery.md says which hold for how many rows a day; raise `every` in "
    "observability/sync.yaml, or ask Google for more",
    "rateLimitExceeded": "too many requests at once: the next sync makes it good; where it stays, raise `every` in "
    "observability/sync.yaml",
    "bytesBilledLimitExceeded": "the job would bill more than `maximum_bytes_billed` in observability/sync.yaml",
    "billingNotEnabled": "enable billing for the project: without it BigQuery takes no DML",
    "responseTooLarge": "ask for fewer days",
    "resourcesExceeded": "the query is too large for its slots: build fewer days at once",
    "jobTimeout": "the job took too long and was stopped; run again, for fewer days",
    "stopped": "the job was cancelled; run again",
}


@contextmanager
def told(place: Place) -> Generator[None]:
    """Turns Google's errors inside the block into WarehouseError; our own mistakes stay what they are."""
    import requests
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, requests.RequestException, TimeoutError) as error:
        raise told_error(error, place) from error


def told_error(error: Exception, place: Place) -> WarehouseError:
    """`error` in one sentence with its mend."""
    from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, RetryError, Unauthorized
    from google.auth.exceptions import GoogleAuthError

    if isinstance(error, RetryError) and isinstance(error.cause, GoogleAPICallError):
        error = error.cause
    said = _said(error)
    if isinstance(error, GoogleAuthError | Unauthorized):
        return WarehouseError(
            f"Google refuses these credentials: {said}; run `gcloud auth application-default login` again, or mend "
            "GOOGLE_APPLICATION_CREDENTIALS"
        )
    reason = reason_of(error)
    if "Table" in said and (isinstance(error, NotFound) or reason == "notFound"):
        return WarehouseError(f"BigQuery has no such table in {place} yet: {said}; run `audit build`")
    if isinstance(error, NotFound) or reason == "notFound":
        return WarehouseError(
            f"BigQuery does not find {place} in {place.location}: {said}; mend AI_AUDIT_BIGQUERY_PROJECT, "
            "AI_AUDIT_BIGQUERY_DATASET or AI_AUDIT_BIGQUERY_LOCATION"
        )
    if reason in _MENDS or isinstance(error, Forbidden):
        return WarehouseError(f"BigQuery refuses: {said}; {_MENDS.get(reason, _MENDS['accessDenied'])}")
    if reason in ("invalidQuery", "invalid"):
        return WarehouseError(
            f"BigQuery refuses a statement: {said}; the tables of {place} may not be as this version makes them "
            "(docs/bigquery.md says how they are)"
        )
    if isinstance(error, GoogleAPICallError):
        return WarehouseError(f"BigQuery, {place}: {said}; nothing was half-loaded, the next sync makes it good")
    return WarehouseError(
        f"BigQuery cannot be reached ({place}): {said}; look at the network"
        + (" and AI_AUDIT_BIGQUERY_ENDPOINT" if place.endpoint else "")
    )


def reason_of(error: object) -> str:
    """Google's one word for an error, such as quotaExceeded; empty where there is none."""
    errors = getattr(error, "errors", None) or [{}]
    first = errors[0]
    return str(first.get("reason", "")) if isinstance(first, dict) else ""


def _said(error: Exception) -> str:
    """Google's first line, without the address it was asked at."""
    text = str(getattr(error, "message", "") or error).strip().splitlines() or [type(error).__name__]
    return text[0].split(": https://")[0].split("; reason")[0][:300]
