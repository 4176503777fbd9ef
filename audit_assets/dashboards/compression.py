"""Answers made small: scripts and styles once, as small as can be, and kept; everything else quickly."""

import gzip
import hashlib
from contextlib import suppress
from pathlib import Path

import brotli
import flask

_SCRIPTS = ("/_dash-component-suites/", "/assets/", "/scripts/")
_TEXT = ("text/", "application/json", "application/javascript", "image/svg+xml", "font/ttf", "application/x-font-ttf")
_SMALL = 600  # bytes; compressing less gains nothing


def compress_answers(server: flask.Flask, cache: Path) -> None:
    """Lets `server` answer in brotli or gzip where the browser takes it; compressed scripts are kept in `cache`."""

    def compressed(response: flask.Response) -> flask.Response:
        accepted = flask.request.headers.get("Accept-Encoding", "")
        coding = "br" if "br" in accepted else "gzip" if "gzip" in accepted else None
        kind = response.mimetype or ""
        if coding is None or response.status_code != 200 or "Content-Encoding" in response.headers:
            return response
        if not kind.startswith(_TEXT) and not flask.request.path.endswith(".ttf"):
            return response
        response.direct_passthrough = False
        plain = response.get_data()
        if len(plain) < _SMALL:
            return response
        kept = flask.request.path.startswith(_SCRIPTS)
        response.set_data(_kept(plain, coding, cache) if kept else _compressed(plain, coding, quickly=True))
        response.headers["Content-Encoding"] = coding
        response.headers["Vary"] = "Accept-Encoding"
        return response

    server.after_request(compressed)


def _kept(plain: bytes, coding: str, cache: Path) -> bytes:
    path = cache / f"{hashlib.sha256(plain).hexdigest()}.{coding}"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        small = _compressed(plain, coding, quickly=False)
        with suppress(OSError):  # a full disk costs the next reader some seconds, and no more
            cache.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{id(plain)}")
            temporary.write_bytes(small)
            temporary.replace(path)
        return small


def _compressed(plain: bytes, coding: str, quickly: bool) -> bytes:
    if coding == "br":
        return brotli.compress(plain, quality=4 if quickly else 11)
    return gzip.compress(plain, compresslevel=5 if quickly else 9)
