"""A plan carried out, change by change, each recorded; the first that fails ends it."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from audit_assets.access.changes import Change, carry_out
from audit_assets.access.plan import Plan
from audit_assets.warehouse.access import AccessPlane
from audit_assets.warehouse.protocol import WarehouseError


class ApplyError(WarehouseError):
    """A change that BigQuery refused. Those before it are done; the message says which it was, why, and the mend."""


def apply(plan: Plan, plane: AccessPlane, now: Callable[[], datetime]) -> Iterator[Mapping[str, object]]:
    """Does the changes in order and yields a record of each. Raises ApplyError at the first that fails."""
    for number, change in enumerate(plan.changes, 1):
        try:
            carry_out(change.action, plane)
        except WarehouseError as error:
            raise ApplyError(
                f"change {number} of {len(plan.changes)} ({change.said}): {error}; those before it are done, the "
                "others are not: `audit access plan` shows what is left"
            ) from None
        yield record(change, now())


def record(change: Change, at: datetime) -> Mapping[str, object]:
    """One line of a log: what was done, when (UTC), to what."""
    return {
        "event": "access",
        "at": at,
        "effect": change.effect,
        "target": change.target,
        "said": change.said,
        "did": change.action.text,
    }
