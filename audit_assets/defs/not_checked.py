"""The result of an asset check that had no data to check: it does not pass, and it does not page."""

from collections.abc import Mapping
from typing import Any

from dagster import AssetCheckResult, AssetCheckSeverity, MetadataValue

NOT_CHECKED = "not_checked"  # the metadata entry that contains the reason


def not_checked(reason: str, **names: Any) -> AssetCheckResult:
    """A warning that nothing was checked. `names` are the asset key and check name, if the check needs them.

    It neither opens nor closes an episode of `check_failed`: a failure stays open until there is data to check.
    """
    return AssetCheckResult(
        passed=False,
        severity=AssetCheckSeverity.WARN,
        description=f"not checked: {reason}",
        metadata={NOT_CHECKED: MetadataValue.text(reason)},
        **names,
    )


def was_checked(metadata: Mapping[str, Any]) -> bool:
    """Whether the evaluation with this metadata had data to check."""
    return NOT_CHECKED not in metadata


def replace_pass(result: AssetCheckResult, reason: str) -> AssetCheckResult:
    """`result` with a pass replaced by "not checked" for `reason`. A failure is returned unchanged."""
    if not result.passed:
        return result
    empty = not_checked(reason)
    return result._replace(
        passed=False,
        severity=empty.severity,
        description=empty.description,
        metadata={**result.metadata, **empty.metadata},
    )
