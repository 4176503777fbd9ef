"""Finds what a view or a filter reads, from its SQL."""

import re
from collections.abc import Mapping

from audit_assets.access.model import Policy, View

_WORD = re.compile(r"[a-z_][a-z0-9_]*", re.IGNORECASE)
_TEXT = re.compile(r"'[^']*'|\"[^\"]*\"")


def identifiers(sql: str) -> frozenset[str]:
    """The identifiers in an expression, without quoted text."""
    return frozenset(word.lower() for word in _WORD.findall(_TEXT.sub("''", sql)))


def columns_of_view(view: View, known: Mapping[str, str]) -> frozenset[str]:
    """The columns of its table that a view reads, from those in `known`."""
    expressions = [*view.columns, *view.computed.values(), view.where or ""]
    return frozenset(word for text in expressions for word in identifiers(text)) & frozenset(known)


def tables_read(policy: Policy, group: str, tables: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """The tables a group may query directly."""
    read = policy.grants.reads.get(group)
    if read is None:
        return frozenset()
    return frozenset(tables) if "warehouse" in read.datasets else frozenset(read.tables)


def views_read(policy: Policy, group: str) -> frozenset[str]:
    """The authorized views a group may query."""
    read = policy.grants.reads.get(group)
    if read is None:
        return frozenset()
    return frozenset(policy.views.views) if "views" in read.datasets else frozenset(read.views)


def tables_behind(policy: Policy, group: str, tables: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """The tables whose rows a group sees, directly or through a view."""
    through = {policy.views.views[name].of for name in views_read(policy, group) if name in policy.views.views}
    return tables_read(policy, group, tables) | through
