"""Content stays at the source: no word of it in any file the sync writes."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from audit_assets.ingest.mirror import write_mirror
from audit_assets.ingest.stdout import sync_to_stdout
from audit_assets.ingest.windows import Request
from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import NOW, POLICY, held_ids, put, reasons, run, tell


@pytest.mark.requirement("R01")
@pytest.mark.parametrize("kind", ["jsonb", "json", "text"])
def test_no_word_of_a_prompt_or_an_answer_is_in_any_file(
    source: str, warehouse: DuckDBWarehouse, tmp_path: Path, kind: str
):
    marker = f"marker{secrets.token_hex(8)}"
    said = f"a long {marker} text " * 2000
    tell(
        source,
        f"alter table ai_audit_logs alter request_metadata type {kind}, alter response_metadata type {kind}",
    )
    requests = [
        {"prompt": said},
        {"prompt": {"parts": [said]}},
        {"messages": [{"role": "user", "content": said}, {"role": "user", "content": [{"text": said}]}]},
        {"messages": said},
        {said[:100]: 1},
    ]
    responses = [
        {"response": said, "completion": said, "choices": [{"message": {"content": said}}]},
        {"error": said},
        {"error": {"message": said}},
        {"error": [said], "status": "failed"},
        {"content": said},
    ]
    for number, (request, response) in enumerate(zip(requests, responses, strict=True)):
        put(source, f"r{number}", NOW, json.dumps(request), json.dumps(response))
    if kind == "text":
        put(source, "broken", NOW, '{"prompt": "' + said, "{}")
    report = run(source, warehouse)
    tell(source, "update ai_audit_logs set capability = 'draft'")
    run(source, warehouse, "full")
    with warehouse.connection("a test") as connection:  # while the log of what was written lies beside the file
        connection.execute("set checkpoint_threshold = '1GB'")
        assert_absent(tmp_path, marker)
    tell(source, "delete from ai_audit_logs where id = 'r0'")
    run(source, warehouse, "full")
    write_mirror(tmp_path / "state.json", report.run)
    lines: list[str] = []
    sync_to_stdout(source, POLICY, Request("delta"), lines.append)
    assert held_ids(warehouse) == ["r1", "r2", "r3", "r4"]
    assert reasons(warehouse) == ({"invalid_json": 1} if kind == "text" else {})
    assert len(lines) == 4
    assert marker not in "".join(lines)
    assert_absent(tmp_path, marker)


def assert_absent(folder: Path, marker: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert [path.name for path in files if marker.encode() in path.read_bytes()] == []
