"""Settings from the environment: defaults, names, and secrets that are never printed."""

from pathlib import Path

import pytest

from audit_assets.settings import PROJECT_ROOT, Settings, SettingsError, read_settings
from audit_assets_tests.environments import settings_of

SECRET = "postgresql://reader:open-sesame@db.internal:5432/app"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch):
    """An environment without any setting."""
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)


def read() -> Settings:
    return read_settings(env_file=None)


def test_with_no_environment_everything_is_local_and_embedded():
    settings = read()
    assert settings.home == PROJECT_ROOT / ".audit"
    assert settings.duckdb_path == PROJECT_ROOT / ".audit/warehouse.duckdb"
    assert settings.lock_path == PROJECT_ROOT / ".audit/warehouse.duckdb.lock"
    assert settings.state_file == PROJECT_ROOT / ".cache/ai-audit-sync-state.json"
    assert (settings.environment, settings.destination, settings.configured_source_url) == ("local", "duckdb", None)


def test_the_users_own_home_folder_is_never_used_as_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("HOME", "home", "STATE_FILE", "ENVIRONMENT", "RULES_FOLDER", "APP_URL"):
        monkeypatch.setenv(name, str(tmp_path))
    assert read() == settings_of({})
    assert read().home == PROJECT_ROOT / ".audit"


def test_a_variable_set_to_nothing_is_a_variable_not_set(monkeypatch: pytest.MonkeyPatch):
    for name in ("AI_AUDIT_HOME", "AI_AUDIT_SOURCE_URL", "AI_AUDIT_WAREHOUSE_DESTINATION", "AI_AUDIT_ENV"):
        monkeypatch.setenv(name, "")
    settings = read()
    assert settings.home == PROJECT_ROOT / ".audit"
    assert settings.configured_source_url is None
    assert (settings.destination, settings.environment) == ("duckdb", "local")


def test_relative_paths_start_at_the_project_from_every_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_AUDIT_HOME", "some/where")
    monkeypatch.setenv("AI_AUDIT_DUCKDB_PATH", "else/file.duckdb")
    settings = read()
    assert settings.home == PROJECT_ROOT / "some/where"
    assert settings.snapshot_folder == PROJECT_ROOT / "some/where/published"
    assert settings.duckdb_path == PROJECT_ROOT / "else/file.duckdb"
    assert settings.lock_path == PROJECT_ROOT / "else/file.duckdb.lock"


def test_a_tilde_means_the_users_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AI_AUDIT_STATE_FILE", "~/state.json")
    assert read().state_file == tmp_path / "state.json"


def test_an_env_file_is_read_and_the_environment_wins_over_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("AI_AUDIT_ENV=from-file\nAI_AUDIT_DOCS_URL=https://docs.internal\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("AI_AUDIT_ENV", "from-environment")
    settings = read_settings(env_file=file)
    assert (settings.environment, settings.docs_url) == ("from-environment", "https://docs.internal")


@pytest.mark.requirement("R11")
@pytest.mark.parametrize(
    ("name", "value"), [("AI_AUDIT_WAREHOUSE_DESTINATION", "sn0wflake-secret"), ("AI_AUDIT_ENV", "Pröd secret")]
)
def test_a_wrong_value_is_reported_by_its_variable_and_never_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"^{name}: .+; see \.env\.example") as caught:
        read()
    assert value not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_secret_is_in_no_repr_and_no_dump(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("AI_AUDIT_HOME", str(tmp_path))
    monkeypatch.setenv("AI_AUDIT_SOURCE_URL", SECRET)
    settings = read()
    assert settings.source_url == SECRET
    for text in (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()):
        assert "open-sesame" not in text


def test_a_home_with_the_embedded_postgres_takes_no_other_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "server.json").write_text("{}")
    monkeypatch.setenv("AI_AUDIT_HOME", str(tmp_path))
    monkeypatch.setenv("AI_AUDIT_SOURCE_URL", SECRET)
    with pytest.raises(SettingsError, match="give that one a home of its own") as raised:
        assert read().source_url
    assert "open-sesame" not in str(raised.value)


def test_without_a_source_the_error_names_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("AI_AUDIT_HOME", str(tmp_path))
    with pytest.raises(SettingsError, match=r"AI_AUDIT_SOURCE_URL.+`audit source start`"):
        _ = read().source_url


def test_the_embedded_source_is_found_by_the_address_it_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("AI_AUDIT_HOME", str(tmp_path))
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres/url").write_text(SECRET + "\n")
    assert read().source_url == SECRET


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", ["", "/v2/enqueue"])
def test_the_pagerduty_url_is_accepted_with_and_without_its_path(
    monkeypatch: pytest.MonkeyPatch, path: str, slash: str
):
    assert read().pagerduty_events_url == "https://events.pagerduty.com"
    monkeypatch.setenv("PAGERDUTY_EVENTS_URL", f"https://events.eu.pagerduty.com{path}{slash}")
    assert read().pagerduty_events_url == "https://events.eu.pagerduty.com"


def test_slacks_address_ends_with_a_slash(monkeypatch: pytest.MonkeyPatch):
    assert read().slack_base_url == "https://slack.com/api/"
    monkeypatch.setenv("SLACK_BASE_URL", "http://127.0.0.1:4000/api")
    assert read().slack_base_url == "http://127.0.0.1:4000/api/"


@pytest.mark.parametrize("name", ["SLACK_BASE_URL", "PAGERDUTY_EVENTS_URL", "PAGERDUTY_API_URL"])
@pytest.mark.parametrize("value", ["events.pagerduty.com", "file:///etc/passwd", "https://"])
def test_an_address_nothing_can_be_posted_to_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"^{name}: .*not an http"):
        read()


def test_the_senders_secrets_are_in_no_repr_and_no_dump(monkeypatch: pytest.MonkeyPatch):
    assert (read().slack_token, read().pagerduty_routing_key) == (None, None)
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-open-sesame")
    monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", "key-open-sesame")
    monkeypatch.setenv("PAGERDUTY_API_TOKEN", "token-open-sesame")
    settings = read()
    assert settings.slack_token is not None
    assert settings.slack_token.get_secret_value() == "xoxb-open-sesame"
    for text in (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()):
        assert "open-sesame" not in text
