"""Content stays at the source: no file that the sync writes contains any of it."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from audit_assets.ingest.state_mirror import write_mirror
from audit_assets.ingest.stdout import sync_to_stdout
from audit_assets.ingest.windows import Request
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import NOW, POLICY, execute, insert_row, loaded_ids, reject_reasons, run


@pytest.mark.requirement("R01")
@pytest.mark.parametrize("kind", ["jsonb", "json", "text"])
def test_no_word_of_a_prompt_or_an_answer_is_in_any_file(
    source: str, warehouse: DuckDBWarehouse, tmp_path: Path, kind: str
):
    marker = f"marker{secrets.token_hex(8)}"
    content = f"a long {marker} text " * 2000
    execute(
        source,
        f"alter table ai_audit_logs alter request_metadata type {kind}, alter response_metadata type {kind}",
    )
    requests = [
        {"prompt": content},
        {"prompt": {"parts": [content]}},
        {"messages": [{"role": "user", "content": content}, {"role": "user", "content": [{"text": content}]}]},
        {"messages": content},
        {content[:100]: 1},
    ]
    responses = [
        {"response": content, "completion": content, "choices": [{"message": {"content": content}}]},
        {"error": content},
        {"error": {"message": content}},
        {"error": [content], "status": "failed"},
        {"content": content},
    ]
    for number, (request, response) in enumerate(zip(requests, responses, strict=True)):
        insert_row(source, f"r{number}", NOW, json.dumps(request), json.dumps(response))
    if kind == "text":
        insert_row(source, "broken", NOW, '{"prompt": "' + content, "{}")
    report = run(source, warehouse)
    execute(source, "update ai_audit_logs set capability = 'draft'")
    run(source, warehouse, "full")
    with warehouse.connection("a test") as connection:  # while the write-ahead log is beside the file
        connection.execute("set checkpoint_threshold = '1GB'")
        assert_absent(tmp_path, marker)
    execute(source, "delete from ai_audit_logs where id = 'r0'")
    run(source, warehouse, "full")
    write_mirror(tmp_path / "state.json", report.run)
    lines: list[str] = []
    sync_to_stdout(source, POLICY, Request("delta"), lines.append, NOW)
    assert loaded_ids(warehouse) == ["r1", "r2", "r3", "r4"]
    assert reject_reasons(warehouse) == ({"invalid_json": 1} if kind == "text" else {})
    assert len(lines) == 4
    assert marker not in "".join(lines)
    assert_absent(tmp_path, marker)


def assert_absent(folder: Path, marker: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert [path.name for path in files if marker.encode() in path.read_bytes()] == []
