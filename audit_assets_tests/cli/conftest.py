"""Fixtures that run the command line over test homes."""

import sys

import pytest

from audit_assets.cli import app as command_line
from audit_assets.cli import output
from audit_assets_tests.cli.running import PASSWORD, Audit, CommandResult
from audit_assets_tests.environments import NOW, built, built_home, empty_home, home

__all__ = ["built", "built_home", "empty_home", "home"]


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Audit:
    """Runs `audit …` at the homes' now and returns its result. Asserts that the output has no traceback or secret."""

    def run(*arguments: str) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["audit", "--now", NOW.isoformat(), *arguments])
        # rich caches its stream; each test has another one.
        monkeypatch.setattr(output.out, "_file", None)
        capsys.readouterr()
        code = 0
        try:
            command_line.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert PASSWORD not in captured.out + captured.err
        return CommandResult(code, captured.out, captured.err)

    return run
