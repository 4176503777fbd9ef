"""The tables of docs/access.md, made from the policy: what each group sees of each table."""

from collections.abc import Iterator

from audit_assets.access.misfits import Catalog
from audit_assets.access.model import Policy
from audit_assets.access.reading import tables_read, views_read

BEGIN = (
    "<!-- Made by `audit access generate` from observability/access/; changes up to the end mark are overwritten. -->"
)
END = "<!-- End of what is made. -->"


class MarksError(Exception):
    """The page has lost its marks. The message says which."""


def page_with_tables(page: str, policy: Policy, catalog: Catalog) -> str:
    """`page` with its tables as they should be. Raises MarksError."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise MarksError(f"docs/access.md has no line {END if begin else BEGIN!r}; put it back where the tables go")
    return f"{before}{begin}\n\n{tables(policy, catalog)}\n{end}{after}"


def tables(policy: Policy, catalog: Catalog) -> str:
    """Markdown: groups, then tables and views by group, then rows and columns."""
    groups = list(policy.groups.groups)
    lines = ["| group | who | reads for |", "|---|---|---|"]
    for name, group in policy.groups.groups.items():
        read = policy.grants.reads.get(name)
        lines.append(f"| {name} | {_line(group.description)} | {_line(read.why) if read else 'nothing'} |")
    lines += ["", f"| table or view | {' | '.join(groups)} |", f"|---|{'---|' * len(groups)}"]
    for table in sorted(catalog.tables):
        cells = [_of_table(policy, group, table, catalog) for group in groups]
        if any(cells):
            lines.append(f"| `{table}` | {' | '.join(cells)} |")
    for view in policy.views.views:
        cells = [_of_view(policy, group, view) for group in groups]
        lines.append(f"| view `{view}` of `{policy.views.views[view].of}` | {' | '.join(cells)} |")
    lines += ["", "| rows of | seen by | where | why |", "|---|---|---|---|"]
    for table, rows in policy.rows.tables.items():
        for one in rows.policies.values():
            lines.append(f"| `{table}` | {', '.join(one.to)} | `{one.filter}` | {_line(one.why)} |")
    lines += ["", "| columns | tag | seen by | masked for |", "|---|---|---|---|"]
    for name, tag in policy.columns.tags.items():
        masked = f"{', '.join(tag.masked.to)} ({tag.masked.by})" if tag.masked else "nobody"
        for table, columns in tag.columns.items():
            listed = ", ".join(f"`{table}.{column}`" for column in columns)
            lines.append(f"| {listed} | {name} | {', '.join(tag.raw)} | {masked} |")
    return "\n".join([*lines, ""])


def _of_table(policy: Policy, group: str, table: str, catalog: Catalog) -> str:
    if table not in tables_read(policy, group, catalog.tables):
        return ""
    return "; ".join(["yes", *_rows(policy, group, table), *_columns(policy, group, table)])


def _of_view(policy: Policy, group: str, view: str) -> str:
    if view not in views_read(policy, group):
        return ""
    return "; ".join(["yes", *_rows(policy, group, policy.views.views[view].of)])


def _rows(policy: Policy, group: str, table: str) -> Iterator[str]:
    rows = policy.rows.tables.get(table)
    shown = [name for name, one in rows.policies.items() if group in one.to] if rows else []
    if shown and "every_row" not in shown:
        yield f"rows `{', '.join(shown)}`"


def _columns(policy: Policy, group: str, table: str) -> Iterator[str]:
    for tag in policy.columns.tags.values():
        columns = ", ".join(f"`{column}`" for column in tag.columns.get(table, ()))
        if columns and tag.masked is not None and group in tag.masked.to:
            yield f"{columns} masked"
        elif columns and group in tag.denied:
            yield f"not {columns}"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
