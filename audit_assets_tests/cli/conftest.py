"""The command line over homes of its own."""

import sys

import pytest

from audit_assets.cli import app as command_line
from audit_assets.cli import screen
from audit_assets_tests.cli.running import PASSWORD, Audit, Said
from audit_assets_tests.homes import built, built_home, empty_home, home

__all__ = ["built", "built_home", "empty_home", "home"]


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Audit:
    """Runs `audit …` and says what it left behind; no traceback and no secret ever is in it."""

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["audit", *arguments])
        # rich looks for its stream once; the test's is another.
        monkeypatch.setattr(screen.out, "_file", None)
        capsys.readouterr()
        code = 0
        try:
            command_line.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert PASSWORD not in captured.out + captured.err
        return Said(code, captured.out, captured.err)

    return run
