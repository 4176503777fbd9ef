"""Checks of the repository: requirements have tests, modules and functions are short, nothing private is tracked."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from audit_assets.settings import PROJECT_ROOT, Settings

TESTS = PROJECT_ROOT / "audit_assets_tests"
REQUIREMENTS = PROJECT_ROOT / "docs/requirements.md"
MODULE_LINES, FUNCTION_LINES = 500, 60  # at most


def tracked() -> list[Path]:
    """The files that git tracks or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.splitlines() if (path := PROJECT_ROOT / name).is_file()]


def texts() -> dict[Path, str]:
    """The tracked text files with their content."""
    found: dict[Path, str] = {}
    for path in tracked():
        body = path.read_bytes()
        if b"\0" not in body[:4096]:
            found[path.relative_to(PROJECT_ROOT)] = body.decode()
    return found


def marked() -> dict[str, set[str]]:
    """The tests marked with each requirement id, as `folder/test_file.py::test_name` below audit_assets_tests."""
    found: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        everywhere = [
            one
            for node in tree.body
            if isinstance(node, ast.Assign) and "pytestmark" in {getattr(target, "id", "") for target in node.targets}
            for one in _ids(node.value)
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                name = f"{path.relative_to(TESTS)}::{node.name}"
                for one in [*everywhere, *(one for mark in node.decorator_list for one in _ids(mark))]:
                    found.setdefault(one, set()).add(name)
    return found


def _ids(node: ast.expr) -> list[str]:
    return [
        argument.value
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "requirement"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def rows() -> dict[str, str]:
    """The evidence of each requirement id, from docs/requirements.md."""
    found: dict[str, str] = {}
    for line in REQUIREMENTS.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) >= 3 and re.fullmatch(r"R\d+[a-z]?|T\d\d", cells[0]):
            found[cells[0]] = cells[-1]
    return found


def test_every_requirement_that_a_test_carries_is_in_the_ledger():
    assert rows()
    assert set(marked()) - set(rows()) == set()


def test_every_test_and_file_that_the_ledger_names_exists():
    functions = {
        f"{path.relative_to(TESTS)}::{node.name}"
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    missing: list[str] = []
    for requirement, shown in rows().items():
        for name in re.findall(r"`(?:audit_assets_tests/)?([\w/]+\.py(?:::\w+)?)`", shown):
            file, _, function = name.partition("::")
            if not any((folder / file).exists() for folder in (TESTS, PROJECT_ROOT)):
                missing.append(f"{requirement}: {file}")
            elif function and name not in functions:
                missing.append(f"{requirement}: {name}")
    assert missing == []


def test_every_row_of_the_ledger_is_shown_by_something():
    bare = [requirement for requirement, shown in rows().items() if not re.search(r"`.+`|\]\(|later|not yet", shown)]
    assert bare == []


def test_no_module_outgrows_what_a_person_reads_at_once():
    lengths = {
        str(path.relative_to(PROJECT_ROOT)): len(path.read_text().splitlines())
        for path in (PROJECT_ROOT / "audit_assets").rglob("*.py")
    }
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_no_function_outgrows_a_screen():
    lengths = {
        f"{path.relative_to(PROJECT_ROOT)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for folder in ("audit_assets", "tools", "benchmarks")
        for path in (PROJECT_ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(lengths) > 1000
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_every_module_starts_with_a_docstring():
    silent = [
        path
        for path in tracked()
        if path.suffix == ".py" and not (ast.get_docstring(ast.parse(path.read_text())) or "").strip()
    ]
    assert silent == []


def test_no_module_has_a_name_without_meaning():
    vague = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert [path for path in tracked() if path.suffix == ".py" and path.stem in vague] == []


# Assembled, so that this file does not match its own patterns.
_PRIVATE = {
    "an address of a package registry": "pypi"
    + r"\.org|pythonhosted"
    + r"\.org|registry\.npm"
    + r"js|--index"
    + "-url http",
    "a folder of one machine": "/home" + r"/\w|/Users" + r"/\w|/root" + "/|/work" + "/",
    "a private key": "-----BEGIN " + "[A-Z ]*PRIVATE KEY",
    "a token": "xox" + r"[bap]-\w{8,}|AKIA" + r"[0-9A-Z]{16}|gh" + r"[pousr]_\w{30,}",
}


@pytest.mark.parametrize("what", _PRIVATE)
def test_nothing_private_is_in_a_tracked_file(what: str):
    pattern = re.compile(_PRIVATE[what])
    found = [
        f"{path}:{number}: {match[0]}"
        for path, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := pattern.search(line))
    ]
    assert found == []


def test_no_tracked_file_is_heavy():
    heavy = {str(path): path.stat().st_size for path in tracked() if path.stat().st_size > 600_000}
    assert heavy == {}


@pytest.mark.parametrize("lock", ["requirements.lock", "benchmarks/peers.lock"])
def test_a_lock_names_exact_versions_with_hashes_and_no_address(lock: str):
    text = (PROJECT_ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--\w*index|--find-links|--trusted-host)", text, re.MULTILINE)
    blocks = re.findall(r"^([A-Za-z0-9][\w.\-\[\]]*)([^\\\n]*(?:\\\n[^\\\n]*)*)$", text, re.MULTILINE)
    assert len(blocks) > 20
    assert [name for name, rest in blocks if not rest.startswith("==")] == []
    assert [name for name, rest in blocks if "--hash=sha256:" not in rest] == []


def test_the_readmes_commands_exist():
    text = (PROJECT_ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE))
    code = re.findall(r"```.*?```|`[^`\n]+`|^    .+$", text, re.DOTALL | re.MULTILINE)
    named = {target for piece in code for target in re.findall(r"\bmake ([a-z]+)", piece)}
    assert named
    assert named - targets == set()


def test_the_environments_example_lists_every_setting_and_nothing_else():
    names = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (PROJECT_ROOT / ".env.example").read_text(), re.MULTILINE))
    assert names == {str(field.validation_alias) for field in Settings.model_fields.values()}


def test_the_changelog_has_a_place_for_what_is_not_released():
    assert re.search(r"^## \[?Unreleased\]?", (PROJECT_ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_ci_runs_exactly_check_and_test():
    lines = (PROJECT_ROOT / ".ci/run").read_text().splitlines()
    assert [line for line in lines if line.startswith("make ")] == ["make check", "make test"]
