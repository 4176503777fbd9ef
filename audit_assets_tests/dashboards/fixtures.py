"""One home with made traffic and with names that mean harm, one server, one browser: for all tests of a file.

Import them into conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from audit_assets_tests.dashboards.browsing import Browsing, Reader, browsing, served
from audit_assets_tests.dashboards.harmful import HARMFUL
from audit_assets_tests.homes import Home, bare_home, copy_of

_CALLS = """insert into ai_audit_logs
    select %(id)s || n, %(name)s, %(name)s, %(name)s, %(at)s - n * interval '1 second',
        '{"prompt": "x"}', '{"status": "success", "durationMs": 800}'
    from generate_series(1, 500) n"""


@pytest.fixture(scope="module")
def shown(built: Home, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The built home, with 500 calls of yesterday by each harmful name, as capability, provider and workspace."""
    with copy_of(built, postgres, tmp_path_factory.mktemp("shown")) as home:
        now = datetime.now(UTC)
        at = now - timedelta(hours=20)
        for number, name in enumerate(HARMFUL):
            home.tell(_CALLS, {"id": f"harm-{number}-", "name": name, "at": at})
        outcome = home.build(at.date(), now.date(), mode="days")
        assert outcome.succeeded, outcome.failure
        yield home


@pytest.fixture(scope="module")
def emptied(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose whole pipeline ran over a source without a row."""
    with bare_home(postgres, tmp_path_factory.mktemp("emptied")) as home:
        outcome = home.build()
        assert outcome.succeeded, outcome.failure
        yield home


@pytest.fixture(scope="module")
def site(shown: Home) -> Iterator[str]:
    """The address of the dashboards over that home."""
    with served(shown) as url:
        yield url


@pytest.fixture(scope="module")
def browser(site: str) -> Iterator[Browsing]:
    with browsing(site) as one:
        yield one


@pytest.fixture
def reader(browser: Browsing) -> Iterator[Reader]:
    """Somebody who opens the pages for the first time. Afterwards: nothing went wrong in the page, nothing left it."""
    with browser.reader() as one:
        yield one
        assert one.complaints == []
        assert one.outside == []


@pytest.fixture
def today() -> date:
    return datetime.now(UTC).date()
