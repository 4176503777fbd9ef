"""What is remembered of an embedded Postgres between commands, kept so that only its owner can read it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from audit_assets.simulate.binaries import PostgresError

DATABASE = "app"


@dataclass(frozen=True)
class ServerRecord:
    """What `server.json` holds. `private` is a temporary folder with a short path: socket, configuration."""

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
        """The same server by a database that always exists."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres?sslmode=disable"


def read_record(folder: Path) -> ServerRecord | None:
    path = folder / "server.json"
    try:
        return ServerRecord(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except PermissionError:
        raise PostgresError(
            f"{path} belongs to another user: run as that user, or set AI_AUDIT_HOME to a folder of your own"
        ) from None
    except (ValueError, TypeError) as error:
        raise PostgresError(f"{path}: not what was written there ({error}): delete it to start afresh") from None


def write_private(path: Path, text: str) -> None:
    """Written whole or not at all, readable by the owner only from the first byte."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def write_record(folder: Path, record: ServerRecord) -> None:
    write_private(folder / "server.json", json.dumps(asdict(record), indent=1) + "\n")
