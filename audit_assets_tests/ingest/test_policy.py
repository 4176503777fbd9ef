"""The sync policy's file: the shipped file has the defaults, and errors name file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit_assets.ingest.policy import PolicyError, SyncPolicy, read_policy
from audit_assets.settings import PROJECT_ROOT

pytestmark = pytest.mark.requirement("R11")


def test_the_file_that_comes_along_says_what_the_defaults_are():
    assert read_policy(PROJECT_ROOT / "observability/sync.yaml") == SyncPolicy()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("lookbak: 15m", "sync.yaml:1: lookbak: unknown field; did you mean lookback?"),
        ("first_day: 2023-01-01\nlookback: 15", "sync.yaml:2: lookback: 15 is not a duration"),
        ("lookback: 0m", "such as 30s, 15m, 24h or 7d"),
        ("lookback: -5m", "is not a duration"),
        ("naive_timezone: Mars/Base", "sync.yaml:1: naive_timezone: 'Mars/Base' is not an IANA time zone"),
        ("naive_timezone: ../../etc/passwd", "is not an IANA time zone"),
        ("naive_timezone: America", "sync.yaml:1: naive_timezone: 'America' is not an IANA time zone"),
        ("first_day: 2023-13-01", "sync.yaml:1: first_day: cannot read '2023-13-01'"),
        ("first_day: soon", "sync.yaml:1: first_day:"),
        ("source:\n  columns:\n    idd: x", "sync.yaml:3: source.columns.idd: unknown field; did you mean id?"),
        ("source:\n  columns:\n    status: state", "sync.yaml:3: source.columns.status:"),
        ("repair:\n  hour: 25", "sync.yaml:2: repair.hour: 25 is not valid (Input should be less than or equal to 23)"),
        ("lookback: [", "sync.yaml:1: is not YAML"),
        ("lookback: 1m\nlookback: 2m", "sync.yaml:2: lookback: is defined twice"),
        ("- 1", "sync.yaml:1: has no fields"),
    ],
)
def test_an_invalid_policy_names_its_line_field_and_fix(tmp_path: Path, content: str, message: str):
    file = tmp_path / "sync.yaml"
    file.write_text(content)
    with pytest.raises(PolicyError) as error:
        read_policy(file)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_policy_names_the_setting(tmp_path: Path):
    with pytest.raises(PolicyError, match="AI_AUDIT_SYNC_POLICY"):
        read_policy(tmp_path / "none.yaml")
    with pytest.raises(PolicyError, match="AI_AUDIT_SYNC_POLICY"):
        read_policy(tmp_path)
