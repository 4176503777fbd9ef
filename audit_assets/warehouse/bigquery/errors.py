"""BigQuery's errors as WarehouseErrors, with the cause and the fix."""

from collections.abc import Generator
from contextlib import contextmanager

from audit_assets.config.json_values import is_object
from audit_assets.warehouse.bigquery.client import TableLocation
from audit_assets.warehouse.protocol import WarehouseError

# A job that ended with one of these reasons changed nothing, and may be repeated.
TRANSIENT = frozenset({"backendError", "internalError", "rateLimitExceeded", "jobBackendError", "jobInternalError"})

_FIXES = {
    "accessDenied": "grant this account roles/bigquery.dataEditor on the dataset and roles/bigquery.jobUser on the "
    "project (docs/bigquery.md)",
    "quotaExceeded": "a quota is used up: docs/bigquery.md lists the quotas by rows per day; raise `every` in "
    "observability/sync.yaml, or ask Google for more",
    "rateLimitExceeded": "too many requests at once: the next sync loads the rows; if it persists, raise `every` in "
    "observability/sync.yaml",
    "bytesBilledLimitExceeded": "the job would bill more than `maximum_bytes_billed` in observability/sync.yaml",
    "billingNotEnabled": "enable billing for the project: without it BigQuery refuses DML",
    "responseTooLarge": "query fewer days",
    "resourcesExceeded": "the query is too large for its slots: build fewer days at once",
    "jobTimeout": "the job took too long and was stopped; run again, for fewer days",
    "stopped": "the job was cancelled; run again",
}


@contextmanager
def google_errors(location: TableLocation) -> Generator[None]:
    """Raises Google's errors in the block as WarehouseError; other errors are not changed."""
    import requests  # Google's client sends with it, and lets its errors through
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, requests.RequestException, TimeoutError) as error:
        raise to_warehouse_error(error, location) from error


def to_warehouse_error(error: Exception, location: TableLocation) -> WarehouseError:
    """`error` in one sentence, with the fix."""
    from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, RetryError, Unauthorized
    from google.auth.exceptions import GoogleAuthError

    if isinstance(error, RetryError) and isinstance(error.cause, GoogleAPICallError):
        error = error.cause
    message = _message(error)
    if isinstance(error, GoogleAuthError | Unauthorized):
        return WarehouseError(
            f"Google refuses these credentials: {message}; run `gcloud auth application-default login` again, or fix "
            "GOOGLE_APPLICATION_CREDENTIALS"
        )
    reason = reason_of(error)
    if "Table" in message and (isinstance(error, NotFound) or reason == "notFound"):
        return WarehouseError(f"BigQuery has no such table in {location} yet: {message}; run `audit build`")
    if isinstance(error, NotFound) or reason == "notFound":
        return WarehouseError(
            f"BigQuery does not find {location} in {location.location}: {message}; fix AI_AUDIT_BIGQUERY_PROJECT, "
            "AI_AUDIT_BIGQUERY_DATASET or AI_AUDIT_BIGQUERY_LOCATION"
        )
    if reason in _FIXES or isinstance(error, Forbidden):
        return WarehouseError(f"BigQuery refuses: {message}; {_FIXES.get(reason, _FIXES['accessDenied'])}")
    if reason in ("invalidQuery", "invalid"):
        return WarehouseError(
            f"BigQuery refuses a statement: {message}; the tables of {location} may differ from those of this version "
            "(docs/bigquery.md describes them)"
        )
    if isinstance(error, GoogleAPICallError):
        return WarehouseError(f"BigQuery, {location}: {message}; nothing was half-loaded, the next sync loads the rows")
    return WarehouseError(
        f"BigQuery cannot be reached ({location}): {message}; check the network"
        + (" and AI_AUDIT_BIGQUERY_ENDPOINT" if location.endpoint else "")
    )


def reason_of(error: object) -> str:
    """Google's reason for an error, such as quotaExceeded; empty if there is none."""
    errors = getattr(error, "errors", None) or [None]
    first = errors[0]
    return str(first.get("reason", "")) if is_object(first) else ""


def _message(error: Exception) -> str:
    """The first line of Google's message, without the request's address."""
    text = str(getattr(error, "message", "") or error).strip().splitlines() or [type(error).__name__]
    return text[0].split(": https://")[0].split("; reason")[0][:300]
