"""A fake of BigQuery's access control in memory, with IAM and policy tags. It can refuse statements."""

import re
from collections.abc import Collection, Mapping

from audit_assets.warehouse.access import DatasetAccess, RowPolicyState, TagState
from audit_assets.warehouse.protocol import WarehouseError

_PATH = r"`[\w-]+\.(\w+)\.(\w+)`"
_PRINCIPALS = re.compile(r"'([^']*)'")


class FakeAccessPlane:
    """An AccessPlane without BigQuery. It refuses statements that contain `denied_text`."""

    def __init__(self, tables: Collection[str], dataset: str = "analytics") -> None:
        self.statements: list[str] = []
        self.denied_text = "nothing at all"
        self.datasets: dict[str, DatasetAccess] = {dataset: DatasetAccess()}
        self.readers_of: dict[tuple[str, str], set[str]] = {(dataset, table): set() for table in tables}
        self.rows: dict[str, dict[str, RowPolicyState]] = {}
        self.texts: dict[str, str] = {}
        self.tag_states: dict[str, TagState] = {}
        self.tagged: dict[str, dict[str, str]] = {}

    def run(self, statement: str) -> None:
        if self.denied_text in statement:
            raise WarehouseError("Permission bigquery.rowAccessPolicies.create denied on table")
        self.statements.append(statement)
        head, principals = statement.split()[0], set(_PRINCIPALS.findall(statement))
        found = re.search(_PATH, statement)
        if statement.startswith("create schema"):
            made = re.search(r"`[\w-]+\.(\w+)`", statement)
            assert made is not None
            self.datasets.setdefault(made[1], DatasetAccess(frozenset({"projectReaders"})))  # as BigQuery does
            return
        assert found is not None
        dataset, name = found.groups()
        if head in ("grant", "revoke"):
            readers_of = self.readers_of[dataset, name]
            (readers_of.update if head == "grant" else readers_of.difference_update)(principals)
        elif statement.startswith("create or replace view"):
            self.readers_of.setdefault((dataset, name), set())
            self.texts[name] = statement.split(" as\n", 1)[1]
        elif statement.startswith("create or replace row access policy"):
            policy = statement.split()[6]
            grant = re.search(r"grant to \((.*)\)\nfilter using \((.*)\)$", statement, re.DOTALL)
            assert grant is not None
            current = RowPolicyState(grant[2], frozenset(_PRINCIPALS.findall(grant[1])))
            self.rows.setdefault(name, {})[policy] = current
        elif statement.startswith("drop all row access policies"):
            self.rows[name] = {}
        elif statement.startswith("drop row access policy"):
            if len(self.rows[name]) == 1:
                raise WarehouseError("the last policy of a table is not dropped by its name")
            del self.rows[name][statement.split()[4]]
        else:
            raise AssertionError(statement)

    def dataset(self, dataset: str) -> DatasetAccess | None:
        return self.datasets.get(dataset)

    def change_dataset(self, dataset: str, add: DatasetAccess, remove: DatasetAccess) -> None:
        current = self.datasets[dataset]
        readers = (current.readers - remove.readers) | add.readers
        self.datasets[dataset] = DatasetAccess(readers, (current.views - remove.views) | add.views)

    def names(self, dataset: str) -> frozenset[str]:
        return frozenset(name for current, name in self.readers_of if current == dataset)

    def readers(self, dataset: str, name: str) -> frozenset[str]:
        return frozenset(self.readers_of[dataset, name])

    def row_policies(self, dataset: str, table: str) -> Mapping[str, RowPolicyState]:
        return dict(self.rows.get(table, {}))

    def view_texts(self, dataset: str) -> Mapping[str, str]:
        return dict(self.texts)

    def tags(self, taxonomy: str) -> Mapping[str, TagState]:
        return dict(self.tag_states)

    def column_tags(self, taxonomy: str, dataset: str, table: str) -> Mapping[str, str]:
        return dict(self.tagged.get(table, {}))

    def set_tag_readers(self, taxonomy: str, tag: str, description: str, principals: Collection[str]) -> None:
        current = self.tag_states.get(tag, TagState())
        self.tag_states[tag] = TagState(frozenset(principals), current.mask, current.masked)

    def set_mask(self, taxonomy: str, tag: str, mask: str | None, principals: Collection[str]) -> None:
        self.tag_states[tag] = TagState(self.tag_states[tag].raw, mask, frozenset(principals))

    def set_column_tags(self, taxonomy: str, dataset: str, table: str, tags: Mapping[str, str | None]) -> None:
        current = self.tagged.setdefault(table, {})
        for column, tag in tags.items():
            if tag is None:
                del current[column]
            else:
                assert tag in self.tag_states
                current[column] = tag
