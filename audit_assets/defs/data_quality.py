"""Asset checks on the content of interactions: calls logged twice, unlisted status words, unusable values."""

from collections.abc import Iterable, Iterator

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    MetadataValue,
    multi_asset_check,
)

from audit_assets.defs.not_checked import not_checked
from audit_assets.defs.publishing import SNAPSHOT
from audit_assets.settings import Settings
from audit_assets.text.sanitize import escape
from audit_assets.warehouse.facts import DAYS, TABLES, DataQuality, data_quality
from audit_assets.warehouse.snapshot import open_snapshot, read_manifest

_QUALITY, _WORDS = TABLES
_DUPLICATES, _STATUSES, _VALUES = "calls_are_logged_once", "status_words_are_listed", "values_are_usable"

_SPECS = [
    AssetCheckSpec(
        _DUPLICATES,
        asset=_QUALITY,
        additional_deps=[SNAPSHOT],
        description="No completionId is logged again within two days. call_count excludes repeats.",
    ),
    AssetCheckSpec(
        _STATUSES,
        asset=_WORDS,
        additional_deps=[SNAPSHOT],
        description="Every status word is listed under source.statuses in observability/sync.yaml.",
    ),
    AssetCheckSpec(
        _VALUES,
        asset=_QUALITY,
        additional_deps=[SNAPSHOT],
        description="Every duration, token count and list of documents that is present is usable.",
    ),
]


def data_quality_checks(settings: Settings) -> AssetChecksDefinition:
    """Checks that warn about the newest two UTC days and never page."""

    @multi_asset_check(name="data_quality", specs=_SPECS, can_subset=True)
    def data_quality_checks(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        selected = {key.name for key in context.selected_asset_check_keys}
        yield from (result for result in check_results(settings) if result.check_name in selected)

    return data_quality_checks


def check_results(settings: Settings) -> list[AssetCheckResult]:
    """The three results, from the published snapshot. If the marts are not published yet or empty, they warn that
    nothing was checked."""
    folder = settings.snapshot_folder
    manifest = read_manifest(folder)
    if manifest is None or not set(TABLES) <= set(manifest.files):
        reason = "is not published yet; run `audit build`"
        return [_not_checked(spec, f"{spec.asset_key.path[-1]} {reason}") for spec in _SPECS]
    with open_snapshot(folder, TABLES) as connection:
        found = data_quality(connection)
    if not found.interactions:
        return [_not_checked(spec, "the newest days have no interaction; run `audit sync`") for spec in _SPECS]
    problems = {
        _DUPLICATES: _duplicates_problem(found),
        _STATUSES: _statuses_problem(found),
        _VALUES: _values_problem(found),
    }
    counts = {_DUPLICATES: found.duplicate_count, _STATUSES: found.unlisted_count, _VALUES: sum(found.invalid.values())}
    return [_result(spec, problems[spec.name], found, counts[spec.name]) for spec in _SPECS]


def _not_checked(spec: AssetCheckSpec, reason: str) -> AssetCheckResult:
    return not_checked(reason, asset_key=spec.asset_key, check_name=spec.name)


def _result(spec: AssetCheckSpec, problem: str | None, found: DataQuality, count: int) -> AssetCheckResult:
    metadata = {
        "interactions": MetadataValue.int(found.interactions),
        "count": MetadataValue.int(count),
        "share": MetadataValue.float(found.share(count)),
    }
    return AssetCheckResult(
        passed=problem is None,
        asset_key=spec.asset_key,
        check_name=spec.name,
        severity=AssetCheckSeverity.WARN,
        description=problem,
        metadata=metadata,
    )


def _duplicates_problem(found: DataQuality) -> str | None:
    if not found.duplicate_count:
        return None
    return (
        f"{found.duplicate_count:,} of {found.interactions:,} interactions of the newest {DAYS} days "
        f"({found.share(found.duplicate_count):.2%}) repeat the completionId of an earlier one: "
        f"{_format_counts(found.duplicates)}; {_QUALITY}.call_count is the figure without them"
    )


def _statuses_problem(found: DataQuality) -> str | None:
    if not found.unlisted_count:
        return None
    return (
        f"{found.unlisted_count:,} of {found.interactions:,} interactions of the newest {DAYS} days "
        f"({found.share(found.unlisted_count):.2%}) ended with a status that counts as unknown: "
        f"{_format_counts(found.unlisted)}; add it to source.statuses in observability/sync.yaml, then run "
        "`audit build --models-only`"
    )


def _values_problem(found: DataQuality) -> str | None:
    counts = [(name, count) for name, count in found.invalid.items() if count]
    if not counts:
        return None
    return (
        f"of {found.interactions:,} interactions of the newest {DAYS} days, these have an unusable value, which sums "
        f"exclude: {_format_counts(counts)}; correct what the application writes"
    )


def _format_counts(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{escape(name)} ({count:,})" for name, count in counts)
