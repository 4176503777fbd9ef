"""Policy tags, their readers and masks, and the columns that have them: wanted against there."""

from collections.abc import Iterator

from audit_assets.access.changes import Change, ColumnTags, Effect, Mask, TagReaders
from audit_assets.access.model import Datasets, Policy
from audit_assets.warehouse.access import State, TagThere


def tags(policy: Policy, state: State) -> Iterator[Change]:
    """Tags to make or change: they come before their columns, so that a column is never closed to its writers."""
    taxonomy = policy.columns.taxonomy
    for name, tag in policy.columns.tags.items():
        there = state.tags.get(name)
        now = there or TagThere()
        raw = policy.principals(tag.raw)
        if there is None or raw != now.raw:
            said = f"{', '.join(tag.raw)} see the columns tagged {name}"
            lost = ", ".join(policy.called(principal) for principal in sorted(now.raw - raw))
            action = TagReaders(taxonomy, name, " ".join(tag.description.split()), raw)
            yield Change(_effect(raw, now.raw), f"tag {name}", f"{said}; no longer {lost}" if lost else said, action)
        by = tag.masked.by if tag.masked else None
        masked = policy.principals(tag.masked.to) if tag.masked else frozenset[str]()
        if (by, masked) != (now.mask, now.masked):
            said = f"{', '.join(tag.masked.to)} see them masked ({by})" if tag.masked else "nobody sees them masked"
            yield Change(_effect(masked, now.masked), f"tag {name}", said, Mask(taxonomy, name, by, masked))


def column_tags(policy: Policy, place: Datasets, state: State) -> Iterator[Change]:
    """Columns to tag, or to free of a tag of the taxonomy. Another taxonomy's tag gives way where ours is wanted."""
    wanted: dict[str, dict[str, str]] = {}
    for name, tag in policy.columns.tags.items():
        for table, columns in tag.columns.items():
            wanted.setdefault(table, {}).update(dict.fromkeys(columns, name))
    for table, there in sorted(state.tables.items()):
        ours = wanted.get(table, {})
        target = f"{place.dataset}.{table}"
        new = {column: tag for column, tag in ours.items() if there.column_tags.get(column) != tag}
        if new:
            said = ", ".join(f"{column} is tagged {tag}" for column, tag in sorted(new.items()))
            action = ColumnTags(policy.columns.taxonomy, place.dataset, table, new)
            yield Change("narrows", target, said, action)
        # A resource's name has slashes; the name of a tag of ours has none.
        stale = {column: None for column, tag in there.column_tags.items() if column not in ours and "/" not in tag}
        if stale:
            said = f"{', '.join(sorted(stale))} have no tag any more: whoever reads the table sees them"
            action = ColumnTags(policy.columns.taxonomy, place.dataset, table, stale)
            yield Change("opens", target, said, action)


def _effect(wanted: frozenset[str], now: frozenset[str]) -> Effect:
    return "opens" if wanted - now else "narrows"
