"""Starts, finds and stops the embedded Postgres of the demo and the tests.

There is one server per folder. In it, `server.json` records where the server's files are, `url` is the address with the
password (both have mode 0600), and `log` is the server's output. If the caller is root, programs and data are in a
private temporary folder instead, owned by an ordinary user.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2

from audit_assets.demo import postgres_files, source_tables
from audit_assets.demo.postgres_files import (
    DATABASE,
    Account,
    PostgresError,
    ServerRecord,
    read_record,
    write_private,
    write_record,
)
from audit_assets.demo.server_process import (
    free_port,
    last_error,
    port_is_free,
    postmaster,
    recorded_pid,
    run,
)

START_WITHIN_S = 120.0  # crash recovery after a large load takes long
LOG_LIMIT_BYTES = 10_000_000

CONFIGURATION = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 128MB
synchronous_commit = off  # fsync stays on: a crash may lose the latest commits, but not the database
max_wal_size = 1GB
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
"""


@dataclass(frozen=True)
class RunningServer:
    """A server that has just answered."""

    pid: int
    port: int
    url: str
    data: Path


def _print_to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def start(folder: Path, report: Callable[[str], None] = _print_to_stderr) -> str:
    """Starts this folder's server unless it runs, creates the source's tables, and returns its URL.

    A server that was killed recovers. If the data was lost with the temporary folder, `report` is called and an empty
    database is created. Raises PostgresError.
    """
    with _locked(folder):
        running = status(folder)
        record = read_record(folder)
        if running is None or record is None:
            record, account = _prepare(folder, record, report)
            record = _launch(folder, record, account)
        _ensure_database(record)
        source_tables.create_tables(record.url)
        write_private(folder / "url", record.url + "\n")
        return record.url


def stop(folder: Path) -> bool:
    """Stops this folder's server and keeps its data. Returns whether a server ran."""
    if not folder.exists():
        return False
    with _locked(folder):
        return _stop(folder)


def remove(folder: Path) -> bool:
    """Stops this folder's server and deletes its data, including data outside the folder. Returns whether the folder
    existed."""
    if not folder.exists():
        return False
    with _locked(folder):
        record = read_record(folder)
        _stop(folder)
        if record is not None:
            shutil.rmtree(record.private, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    return True


def status(folder: Path) -> RunningServer | None:
    """The folder's server if it answers with its own password and its own data, else None."""
    record = read_record(folder)
    pid = None if record is None else postmaster(Path(record.data))
    if record is None or pid is None or not _answers(record):
        return None
    return RunningServer(pid, record.port, record.url, Path(record.data))


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Holds the folder's lock, so that concurrent starts create one server."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepare(folder: Path, record: ServerRecord | None, report: Callable[[str], None]) -> tuple[ServerRecord, Account]:
    """A record whose data and programs exist, and the account that owns them. Repairs the existing record, or creates
    a new database if its data is missing."""
    if record is not None:
        if (Path(record.data) / "PG_VERSION").exists():
            account = postgres_files.owner_account(Path(record.data))
            return _repair(folder, record, account), account
        report(
            f"The data of the embedded Postgres in {record.data} is missing (a restart of the machine may delete "
            "temporary folders): starting with an empty database."
        )
        shutil.rmtree(record.private, ignore_errors=True)
    account = postgres_files.server_account()
    private = postgres_files.private_folder(account)
    try:
        install = postgres_files.bundled_install()
        if account.borrowed:
            install = postgres_files.copy_install(install, private)
        data = (private if account.borrowed else folder.resolve()) / "data"
        record = ServerRecord(str(private), str(data), str(install), free_port(), secrets.token_urlsafe(24))
        _initialize(folder, record, account)
    except BaseException:
        shutil.rmtree(private, ignore_errors=True)
        raise
    write_record(folder, record)
    return record, account


def _repair(folder: Path, record: ServerRecord, account: Account) -> ServerRecord:
    """The record with the same data, and a socket folder and programs that exist. They disappear when /tmp is cleaned
    or packages are upgraded."""
    private, install = Path(record.private), Path(record.install)
    if not private.exists():
        private = postgres_files.private_folder(account)
    if not (install / "bin/postgres").exists():
        install = postgres_files.bundled_install()
    repaired = replace(record, private=str(private), install=str(install))
    if repaired != record:
        write_record(folder, repaired)
    return repaired


def _initialize(folder: Path, record: ServerRecord, account: Account) -> None:
    """Runs `initdb` in a temporary folder and renames it, so that an incomplete data folder is never used."""
    private, data = Path(record.private), Path(record.data)
    draft, password_file = data.with_name("data.new"), private / "password"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    account.own(draft)
    write_private(password_file, record.password)
    account.own(password_file)
    log = folder / "log"
    code = run(
        Path(record.install) / "bin/initdb",
        [
            *("-D", str(draft), "-U", "postgres", f"--pwfile={password_file}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--no-instructions", "--no-sync", "--no-data-checksums"),
        ],
        account,
        private,
        log,
    )
    password_file.unlink()
    if code != 0:
        raise PostgresError(f"initdb failed: {last_error(log)}; its output is in {log}")
    shutil.rmtree(data, ignore_errors=True)  # from a start that was killed before it stored the password
    draft.rename(data)


def _launch(folder: Path, record: ServerRecord, account: Account) -> ServerRecord:
    """Starts the server and waits until it answers; on another port if the recorded one is now in use."""
    log, data = folder / "log", Path(record.data)
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.write_bytes(b"")
    deadline = time.monotonic() + START_WITHIN_S
    failures = 0
    while True:
        if postmaster(data) is None:
            if recorded_pid(data) is not None:
                # Left after a kill -9 or a power cut. The process id now belongs to another process or to a
                # zombie, so Postgres would never start. Postgres handles the id of a dead process itself.
                (data / "postmaster.pid").unlink(missing_ok=True)
            if not port_is_free(record.port):
                record = replace(record, port=free_port())
                write_record(folder, record)
            printed = log.stat().st_size if log.exists() else 0
            if not _pg_ctl_start(record, account, log):
                failures += 0 if _is_transient(log, printed) else 1
        if postmaster(data) is not None and _answers(record):
            return record
        if failures == 3 or time.monotonic() > deadline:
            raise PostgresError(
                f"the embedded Postgres does not start: {last_error(log)}; its output is in {log}. "
                "To start with an empty database, run `audit source stop` and delete that folder"
            )
        time.sleep(0.1)


def _is_transient(log: Path, printed: int) -> bool:
    """Whether the server's output after `printed` bytes shows a transient error: the children of a killed server need
    a moment to release its shared memory, and a port can be taken between the check and its use."""
    with log.open("rb") as file:
        file.seek(printed)
        output = file.read().decode(errors="replace").lower()
    return "shared memory" in output or "address already in use" in output


def _pg_ctl_start(record: ServerRecord, account: Account, log: Path) -> bool:
    private = Path(record.private)
    sockets, configuration = private / "socket", private / "postgresql.conf"
    shutil.rmtree(sockets, ignore_errors=True)  # a killed server leaves a lock on its socket
    sockets.mkdir(mode=0o700)
    account.own(sockets)
    configuration.write_text(CONFIGURATION.format(port=record.port, sockets=sockets))
    configuration.chmod(0o644)
    code = run(
        Path(record.install) / "bin/pg_ctl",
        [
            *("start", "-w", "-t", "60", "-D", record.data),
            *("-o", f"-c config_file={shlex.quote(str(configuration))}"),
        ],
        account,
        private,
        log,
    )
    return code == 0


def _stop(folder: Path) -> bool:
    record = read_record(folder)
    (folder / "url").unlink(missing_ok=True)
    pid = None if record is None else postmaster(Path(record.data))
    if record is None or pid is None:
        return False
    for number, timeout_s in ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0)):  # fast, then immediate shutdown
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if postmaster(Path(record.data)) is None:
                return True
            time.sleep(0.02)
    raise PostgresError(f"the embedded Postgres (process {pid}) does not stop; stop it with: kill -9 {pid}")


def _answers(record: ServerRecord) -> bool:
    """Whether the server on the recorded port accepts the recorded password and serves the recorded data."""
    try:
        with (
            source_tables.connect(record.maintenance_url, timeout_s=2) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("select current_setting('data_directory')")
            return cursor.fetchall() == [(record.data,)]
    except (source_tables.SourceError, psycopg2.OperationalError):
        return False


def _ensure_database(record: ServerRecord) -> None:
    connection = psycopg2.connect(record.maintenance_url, connect_timeout=10)
    try:
        connection.autocommit = True  # create database runs outside transactions
        with connection.cursor() as cursor:
            cursor.execute("select 1 from pg_database where datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f"create database {DATABASE}")
    finally:
        connection.close()
