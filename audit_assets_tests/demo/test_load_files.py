"""Loading a file: accepted and rejected forms of Parquet files."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from audit_assets.demo.load import LoadError, LoadReport, load_file
from audit_assets_tests.demo.loading import GOOD, NOON, loaded, query, reasons, row, written
from audit_assets_tests.untyped import pa, pq

pytestmark = pytest.mark.requirement("R03")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_every_unit_and_zone_keep_their_instant(source: str, tmp_path: Path, unit: str):
    rows = [row(1, created_at=NOON), row(2, created_at=None)]
    path = written(tmp_path / "f.parquet", rows, pa.timestamp(unit, "+05:30"))
    assert reasons(loaded(source, path)) == {"missing_time": 1}
    assert query(source, "select created_at from ai_audit_logs") == [(NOON,)]


def test_timestamps_beyond_the_years_of_a_calendar_are_refused(source: str, tmp_path: Path):
    ends = [-(2**63) + 1, -62_135_596_800_001, -62_135_596_800_000, 253_402_300_799_999, 253_402_300_800_000, 2**62]
    rows = [row(number, created_at=end) for number, end in enumerate(ends)]
    path = written(tmp_path / "f.parquet", rows, pa.timestamp("ms", "UTC"))
    assert reasons(loaded(source, path)) == {"time_out_of_range": 4}


def test_naive_timestamps_are_refused_unless_a_time_zone_is_given(source: str, tmp_path: Path):
    naive = [NOON.replace(tzinfo=None), datetime(2026, 3, 8, 2, 30)]  # noqa: DTZ001  (the second never was)
    path = written(
        tmp_path / "f.parquet",
        [row(number, created_at=when) for number, when in enumerate(naive)],
        pa.timestamp("us"),
    )
    assert reasons(loaded(source, path)) == {"naive_time": 2}
    assert reasons(loaded(source, path, "America/Los_Angeles")) == {"invalid_time": 1}
    assert query(source, "select created_at from ai_audit_logs") == [(NOON + timedelta(hours=8),)]


def test_naive_texts_follow_the_given_time_zone_and_others_their_own(source: str, tmp_path: Path):
    path = written(
        tmp_path / "f.parquet",
        [row(1, created_at="2026-03-02 04:00:00"), row(2, created_at="2026-03-02 12:00:00Z")],
    )
    assert loaded(source, path, "America/Los_Angeles").loaded == 2
    assert query(source, "select distinct created_at from ai_audit_logs") == [(NOON,)]


def test_text_that_is_not_utf_8_is_refused(source: str, tmp_path: Path):
    table = pq.read_table(written(tmp_path / "f.parquet", [row(number) for number in range(3)]))
    size, broken = 3, b"ok\xff\xfeok"
    offsets = pa.py_buffer(b"".join(number.to_bytes(4, "little") for number in (0, 2, 4, 6)))
    capability = pa.Array.from_buffers(pa.string(), size, [None, offsets, pa.py_buffer(broken)])
    table = table.set_column(table.schema.get_field_index("capability"), "capability", capability)
    pq.write_table(table, tmp_path / "g.parquet")
    assert reasons(loaded(source, tmp_path / "g.parquet")) == {"invalid_text": 1}


def test_whole_numbers_and_categories_are_taken_as_text(source: str, tmp_path: Path):
    table = pq.read_table(written(tmp_path / "f.parquet", [row(number) for number in range(2)]))
    numbered = table.set_column(table.schema.get_field_index("id"), "id", pa.array([1, 2], pa.int64()))
    place = numbered.schema.get_field_index("provider")
    numbered = numbered.set_column(place, "provider", numbered.column("provider").dictionary_encode())
    pq.write_table(numbered, tmp_path / "g.parquet")
    assert loaded(source, tmp_path / "g.parquet").loaded == 2
    assert query(source, "select id, provider from ai_audit_logs order by id") == [("1", "openai"), ("2", "openai")]


def test_an_empty_file_loads_nothing(source: str, tmp_path: Path):
    assert loaded(source, written(tmp_path / "f.parquet", [])) == LoadReport(0, 0, ())


def test_a_file_without_the_columns_names_them(source: str, tmp_path: Path):
    table = pq.read_table(written(tmp_path / "f.parquet", [GOOD])).drop_columns(["provider", "created_at"])
    pq.write_table(table, tmp_path / "g.parquet")
    with pytest.raises(LoadError, match=r"g\.parquet: lacks the columns provider, created_at"):
        load_file(source, tmp_path / "g.parquet", lambda _: None)


def test_a_column_of_another_type_is_named_with_its_type(source: str, tmp_path: Path):
    table = pq.read_table(written(tmp_path / "f.parquet", [GOOD]))
    place = table.schema.get_field_index("request_metadata")
    pq.write_table(table.set_column(place, "request_metadata", pa.array([{"a": 1}])), tmp_path / "g.parquet")
    with pytest.raises(LoadError, match=r"column request_metadata is struct<.*must be text"):
        load_file(source, tmp_path / "g.parquet", lambda _: None)


def test_a_file_that_is_not_parquet_is_reported_by_name(source: str, tmp_path: Path):
    (tmp_path / "f.parquet").write_bytes(b"not parquet")
    for name, cause in (("f.parquet", "not a readable Parquet file"), ("g.parquet", "no such file")):
        with pytest.raises(LoadError, match=rf"{name}: .*{cause}"):
            load_file(source, tmp_path / name, lambda _: None)


def test_a_file_that_breaks_off_leaves_nothing(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("audit_assets.demo.load.BATCH_ROWS", 100)
    table = pq.read_table(written(tmp_path / "f.parquet", [row(number) for number in range(1000)]))
    pq.write_table(table, tmp_path / "g.parquet", row_group_size=250, compression="NONE")
    whole = (tmp_path / "g.parquet").read_bytes()
    middle = len(whole) // 2
    (tmp_path / "g.parquet").write_bytes(whole[:middle] + b"\xff" * 4000 + whole[middle + 4000 :])
    with pytest.raises(LoadError, match=r"g\.parquet"):
        load_file(source, tmp_path / "g.parquet", lambda _: None)
    assert query(source, "select count(*) from ai_audit_logs") == [(0,)]
