"""Applies an access plan, change by change, and logs each."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from audit_assets.access.changes import Action, Change, ColumnTags, DatasetList, Mask, Statement, TagReaders
from audit_assets.access.plan import Plan
from audit_assets.warehouse.access import AccessPlane
from audit_assets.warehouse.protocol import WarehouseError


def execute_action(action: Action, plane: AccessPlane) -> None:
    """Executes one action. Raises WarehouseError."""
    match action:
        case Statement(sql):
            plane.run(sql)
        case DatasetList(dataset, add, remove):
            plane.change_dataset(dataset, add, remove)
        case TagReaders(taxonomy, tag, description, principals):
            plane.set_tag_readers(taxonomy, tag, description, principals)
        case Mask(taxonomy, tag, by, principals):
            plane.set_mask(taxonomy, tag, by, principals)
        case ColumnTags(taxonomy, dataset, table, tags):
            plane.set_column_tags(taxonomy, dataset, table, tags)


class ApplyError(WarehouseError):
    """BigQuery refused a change; the changes before it are done. The message says which change, why, and the fix."""


def apply(plan: Plan, plane: AccessPlane, now: Callable[[], datetime]) -> Iterator[Mapping[str, object]]:
    """Applies the changes in order and yields a log record for each. Raises ApplyError at the first that fails."""
    for number, change in enumerate(plan.changes, 1):
        try:
            execute_action(change.action, plane)
        except WarehouseError as error:
            raise ApplyError(
                f"change {number} of {len(plan.changes)} ({change.summary}): {error}; the changes before it are done, "
                "the others are not: `audit access plan` shows what is left"
            ) from None
        yield log_record(change, now())


def log_record(change: Change, at: datetime) -> Mapping[str, object]:
    """One log record: what was done, when (UTC), and to what."""
    return {
        "event": "access",
        "at": at,
        "effect": change.effect,
        "target": change.target,
        "said": change.summary,
        "did": change.action.text,
    }
