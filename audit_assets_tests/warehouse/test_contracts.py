"""The columns of the dbt models, as read from their contracts."""

from pathlib import Path

import pytest

from audit_assets.rules.facts import TABLES
from audit_assets.warehouse import schema
from audit_assets.warehouse.schema import ColumnTypes, contract


def test_a_column_has_the_type_of_each_engine_and_the_contracts_order():
    columns = contract("ai_audit_capability_anomalies")
    assert list(columns)[:3] == ["date", "capability", "interaction_count"]
    assert columns["date"] == ColumnTypes("date", "date")
    assert columns["interaction_count"] == ColumnTypes("int64", "bigint")


def test_every_model_has_a_contract():
    models = {path.stem for path in schema.MODELS.rglob("*.sql")}
    assert schema.contracts().keys() == models
    assert {name for name, table in TABLES.items() if table.is_mart} <= models


def test_a_model_that_does_not_exist_is_a_key_error():
    with pytest.raises(KeyError, match="ai_audit_dayly"):
        contract("ai_audit_dayly")


@pytest.mark.parametrize("written", ["description: a sum", "data_type: ~", "data_type: '{{ target.type }}'"])
def test_a_column_whose_type_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str):
    (tmp_path / "marts").mkdir()
    (tmp_path / "marts" / "of_a_test.yml").write_text(
        f"models: [{{name: of_a_test, columns: [{{name: total, {written}}}]}}]"
    )
    monkeypatch.setattr(schema, "MODELS", tmp_path)
    with pytest.raises(ValueError, match=r"of_a_test\.yml: total: data_type .* is no type"):
        contract("of_a_test")
