"""BigQuery's access on paper: carried out in memory, IAM and policy tags included; it can refuse."""

import re
from collections.abc import Collection, Mapping

from audit_assets.warehouse.access import DatasetAccess, RowPolicyThere, TagThere
from audit_assets.warehouse.protocol import WarehouseError

_PATH = r"`[\w-]+\.(\w+)\.(\w+)`"
_PRINCIPALS = re.compile(r"'([^']*)'")


class PaperPlane:
    """An AccessPlane without BigQuery. `refuses`: text of a statement that is refused."""

    def __init__(self, tables: Collection[str], dataset: str = "analytics") -> None:
        self.done: list[str] = []
        self.refuses = "nothing at all"
        self.datasets: dict[str, DatasetAccess] = {dataset: DatasetAccess()}
        self.held: dict[tuple[str, str], set[str]] = {(dataset, table): set() for table in tables}
        self.rows: dict[str, dict[str, RowPolicyThere]] = {}
        self.texts: dict[str, str] = {}
        self.tag_states: dict[str, TagThere] = {}
        self.tagged: dict[str, dict[str, str]] = {}

    def run(self, statement: str) -> None:
        if self.refuses in statement:
            raise WarehouseError("Permission bigquery.rowAccessPolicies.create denied on table")
        self.done.append(statement)
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
            held = self.held[dataset, name]
            (held.update if head == "grant" else held.difference_update)(principals)
        elif statement.startswith("create or replace view"):
            self.held.setdefault((dataset, name), set())
            self.texts[name] = statement.split(" as\n", 1)[1]
        elif statement.startswith("create or replace row access policy"):
            policy = statement.split()[6]
            said = re.search(r"grant to \((.*)\)\nfilter using \((.*)\)$", statement, re.DOTALL)
            assert said is not None
            there = RowPolicyThere(said[2], frozenset(_PRINCIPALS.findall(said[1])))
            self.rows.setdefault(name, {})[policy] = there
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
        there = self.datasets[dataset]
        readers = (there.readers - remove.readers) | add.readers
        self.datasets[dataset] = DatasetAccess(readers, (there.views - remove.views) | add.views)

    def names(self, dataset: str) -> frozenset[str]:
        return frozenset(name for there, name in self.held if there == dataset)

    def readers(self, dataset: str, name: str) -> frozenset[str]:
        return frozenset(self.held[dataset, name])

    def row_policies(self, dataset: str, table: str) -> Mapping[str, RowPolicyThere]:
        return dict(self.rows.get(table, {}))

    def view_texts(self, dataset: str) -> Mapping[str, str]:
        return dict(self.texts)

    def tags(self, taxonomy: str) -> Mapping[str, TagThere]:
        return dict(self.tag_states)

    def column_tags(self, taxonomy: str, dataset: str, table: str) -> Mapping[str, str]:
        return dict(self.tagged.get(table, {}))

    def set_tag_readers(self, taxonomy: str, tag: str, description: str, principals: Collection[str]) -> None:
        there = self.tag_states.get(tag, TagThere())
        self.tag_states[tag] = TagThere(frozenset(principals), there.mask, there.masked)

    def set_mask(self, taxonomy: str, tag: str, mask: str | None, principals: Collection[str]) -> None:
        self.tag_states[tag] = TagThere(self.tag_states[tag].raw, mask, frozenset(principals))

    def set_column_tags(self, taxonomy: str, dataset: str, table: str, tags: Mapping[str, str | None]) -> None:
        there = self.tagged.setdefault(table, {})
        for column, tag in tags.items():
            if tag is None:
                del there[column]
            else:
                assert tag in self.tag_states
                there[column] = tag
