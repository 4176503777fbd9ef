"""What went wrong at the source, told in one line: the cause, the mend, and no password."""

import re
from urllib.parse import unquote, urlsplit

_WRITTEN = "write AI_AUDIT_SOURCE_URL as postgresql://role:password@host:port/database, odd characters as %XX"

# What a message holds → what mends it. The first that is found is told.
_MENDS = (
    ("permission denied", "grant select on the table, and usage on its schema, to this role"),
    ("password authentication", "put the right role and password into AI_AUDIT_SOURCE_URL"),
    ("no password supplied", "put the password into AI_AUDIT_SOURCE_URL"),
    ("does not exist", "check the database and role in AI_AUDIT_SOURCE_URL"),
    ("connection info string", _WRITTEN),
    ("invalid uri", _WRITTEN),
    ("invalid connection option", _WRITTEN),
    ("invalid percent", _WRITTEN),
    ("invalid integer", _WRITTEN),
    ("invalid sslmode", _WRITTEN),
    ("unexpected spaces", _WRITTEN),
    ("failed to connect", "start it, or set AI_AUDIT_SOURCE_URL to one that runs"),
)
_OTHERWISE = "run again: what was committed stays, the rest is read anew"


class SourceError(Exception):
    """The source cannot be read. The message names the cause and the mend, and no password."""


def told(error: Exception, url: str) -> SourceError:
    """The driver's error for a person to read."""
    cause = redacted(str(error), url)
    mend = next((mend for sign, mend in _MENDS if sign in cause.lower()), _OTHERWISE)
    return SourceError(f"the source did not answer as it should: {cause}; {mend}")


def redacted(message: str, url: str) -> str:
    """`message` in one line without the URL or its password, however they are quoted."""
    known, secrets = _names(url), {url, url.partition("://")[2]}
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    if password:
        secrets |= {password, unquote(password)}
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        message = message.replace(secret, "***")
    message = re.sub(r"password=\S+", "password=***", message)
    if "Failed to connect" in message:  # a URL that is cut wrongly quotes a part of the password as a host or port
        message = re.sub(r'"([^"]*)"', lambda quote: quote[0] if _is_place(quote[1], known) else '"***"', message)
    return " ".join(message.split())[:500]


def _names(url: str) -> set[str]:
    """Host, role and database as the URL names them."""
    try:
        parts = urlsplit(url)
        return {name for name in (parts.hostname, parts.username, parts.path[1:]) if name and "@" not in name}
    except ValueError:
        return set()


def _is_place(text: str, known: set[str]) -> bool:
    return text in known or text.startswith("/") or re.fullmatch(r"[0-9a-f]*[.:][0-9a-f.:]+", text) is not None
