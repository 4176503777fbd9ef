"""A run's log as a person at a terminal follows it: what the steps say, without Dagster's prefixes."""

import logging
import sys
from typing import TextIO

from dagster import InitLoggerContext, logger


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        said = str(meta.get("orig_message") or record.getMessage())
        mark = "warning: " if record.levelno == logging.WARNING else ""
        return f"  {mark}{said}"


class _Steps(logging.Filter):
    """What the project's own code says, and failures; not the engine's events."""

    def filter(self, record: logging.LogRecord) -> bool:
        meta = getattr(record, "dagster_meta", {})
        if str(meta.get("orig_message", "")).startswith('{"event"'):  # the line for machines
            return False
        return meta.get("dagster_event") is None or record.levelno >= logging.ERROR


@logger(config_schema={}, description="What the steps say, plainly, for `audit build` and `audit demo`.")
def terminal(context: InitLoggerContext) -> logging.Logger:
    stream: TextIO = sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Plain())
    handler.addFilter(_Steps())
    plain = logging.Logger("audit", level=logging.INFO)
    plain.addHandler(handler)
    return plain
