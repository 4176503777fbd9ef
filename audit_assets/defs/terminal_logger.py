"""The log of a run for a terminal: the messages of the steps, without Dagster's prefixes."""

import logging
import sys
from typing import TextIO

from dagster import InitLoggerContext, logger


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        message = str(meta.get("orig_message") or record.getMessage())
        prefix = "warning: " if record.levelno == logging.WARNING else ""
        return f"  {prefix}{message}"


class _ProjectMessages(logging.Filter):
    """Passes messages of the project's own code, and failures; drops Dagster's events."""

    def filter(self, record: logging.LogRecord) -> bool:
        meta = getattr(record, "dagster_meta", {})
        if str(meta.get("orig_message", "")).startswith('{"event"'):  # the line of JSON for log collectors
            return False
        return meta.get("dagster_event") is None or record.levelno >= logging.ERROR


@logger(config_schema={}, description="The messages of the steps as plain text, for `audit build` and `audit demo`.")
def terminal(context: InitLoggerContext) -> logging.Logger:
    stream: TextIO = sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_PlainFormatter())
    handler.addFilter(_ProjectMessages())
    plain = logging.Logger("audit", level=logging.INFO)
    plain.addHandler(handler)
    return plain
