"""The repository is written in plain field terms: no word of the banned list stands in code, docs or messages."""

import re

import pytest

from audit_assets_tests.repo_checks.test_promises import texts

BANNED = re.compile(
    r"""(?<![a-z]) (
        told | tell | tells | telling | retold | foretold | tale | tales | story | stories
        | reckon | reckons | reckoned | reckoning | forsaken | narration | narrations
        | mend | mends | mended | mending | misfit | misfits | bereft | how-manieth | buries | buried | bury
    ) (?![a-z])""",
    re.IGNORECASE | re.VERBOSE,
)

# Published names: the column of ai_audit_alert_drills that counts the messages sent, and the method of files.
PUBLISHED = re.compile(r'"told"|\brow\.told\b|\btold=|\.tell\(\)')

SKIPPED = {"audit_assets_tests/repo_checks/test_language.py", "requirements.lock"}  # the list itself, names of packages


def found_in(text: str) -> list[str]:
    """Banned words of a text, also within identifiers: `table_told`, `toldState`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", PUBLISHED.sub("", text))
    return [match[1].lower() for match in BANNED.finditer(apart)]


@pytest.mark.parametrize(
    "text", ["it is told once", "def table_told(", "class ToldState", "a tale", "mends", "Be told"]
)
def test_a_banned_word_is_found_in_prose_and_in_names(text: str):
    assert found_in(text) != []


@pytest.mark.parametrize("text", ["recommended", "amended", "history", "untolded", "installments", "detailed"])
def test_a_word_that_only_contains_one_is_none(text: str):
    assert found_in(text) == []


def test_no_banned_word_stands_in_code_docs_or_messages():
    read = {str(path): body for path, body in texts().items()}
    assert set(read) >= SKIPPED, "the files of the repository were read"
    found = {path: words for path, body in read.items() if path not in SKIPPED and (words := found_in(body))}
    assert found == {}
