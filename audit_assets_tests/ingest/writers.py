"""Applications that are hard to sync: concurrent long transactions, savepoints and clock skew."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import psycopg2


@dataclass
class Writers:
    """`count` writers that commit rows into the source while the block runs. Transactions take up to `longest_s`
    seconds; a client's clock is off by up to `skew_s` seconds in either direction."""

    url: str
    count: int
    longest_s: float
    skew_s: float
    seed: int

    def __post_init__(self) -> None:
        self._done = threading.Event()
        self._pool = ThreadPoolExecutor(self.count)

    def __enter__(self) -> Writers:
        self._writing = [self._pool.submit(self._keep_writing, number) for number in range(self.count)]
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for writer in self._writing:
            writer.result()
        self._pool.shutdown()

    def _keep_writing(self, number: int) -> None:
        rng = random.Random(self.seed * 1000 + number)
        # Half of the clients stamp rows by their own clock, the others leave it to the server's now(), which is when
        # their transaction began.
        skew = rng.uniform(-self.skew_s, self.skew_s) if number % 2 else None
        with closing(psycopg2.connect(self.url)) as connection:
            turn = 0
            while not self._done.is_set():
                turn += 1
                self._transaction(connection, rng, f"{number}-{turn}", skew)

    def _transaction(
        self, connection: psycopg2.extensions.connection, rng: random.Random, name: str, skew: float | None
    ) -> None:
        ends = time.monotonic() + self.longest_s * rng.random() ** 3  # most are short
        stamp = "now()" if skew is None else f"clock_timestamp() + {skew} * interval '1 second'"
        with connection, connection.cursor() as cursor:
            for part in range(rng.randint(1, 6)):
                cursor.execute("savepoint part")
                cursor.execute(
                    f"""insert into ai_audit_logs (id, created_at, capability, provider, response_metadata)
                    values (%s, {stamp}, 'summarise', 'openai', '{{"status": "success"}}')""",
                    (f"{name}-{part}",),
                )
                if rng.random() < 0.2:
                    cursor.execute("rollback to savepoint part")
                pause = (ends - time.monotonic()) / 3
                if pause > 0:
                    time.sleep(pause)
        time.sleep(rng.uniform(0.0, 0.05))
