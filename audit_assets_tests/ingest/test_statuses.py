"""Lists of status words: comparison, defaults and errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit_assets.ingest.policy import PolicyError, Statuses, read_policy

pytestmark = pytest.mark.requirement("R04")


def test_words_are_compared_without_case_and_separators_whatever_yaml_reads_them_as(tmp_path: Path):
    file = tmp_path / "sync.yaml"
    file.write_text("source:\n  statuses:\n    success: [OK, 200, true, Tool-Calls]\n    unknown: [null]\n")
    statuses = read_policy(file).source.statuses
    assert (statuses.success, statuses.unknown) == (("ok", "200", "true", "toolcalls"), ("null",))
    assert statuses.error == Statuses().error


def test_a_word_that_one_class_lists_leaves_the_defaults_of_another():
    statuses = Statuses.model_validate({"error": ["stop", "failed"]})
    assert "stop" in Statuses().success
    assert "stop" not in statuses.success
    assert "ok" in statuses.success


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ("success: [ok]\n    error: [O_K]", "'ok' is listed under success and error; remove it from one of them"),
        ('success: ["it\'s"]', '"it\'s" is not a status'),
        ("success: [' _ ']", "is not a status; write letters, digits"),
        ("succes: [ok]", "sync.yaml:3: source.statuses.succes: unknown field; did you mean success?"),
        ("success: ok", "sync.yaml:3: source.statuses.success:"),
    ],
)
def test_lists_that_cannot_be_used_name_their_place(tmp_path: Path, lists: str, message: str):
    file = tmp_path / "sync.yaml"
    file.write_text(f"source:\n  statuses:\n    {lists}\n")
    with pytest.raises(PolicyError) as error:
        read_policy(file)
    assert message in str(error.value)
