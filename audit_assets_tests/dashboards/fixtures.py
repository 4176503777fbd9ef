"""A home with simulated traffic and harmful names, a server and a browser, shared by all tests of a file.

Import them into conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from audit_assets_tests.dashboards.browsing import Browsing, Reader, browsing, served
from audit_assets_tests.dashboards.harmful import HARMFUL
from audit_assets_tests.environments import NOW, Home, bare_home, copy_home

_CALLS = """insert into ai_audit_logs
    select %(id)s || n, %(name)s, %(name)s, %(name)s, %(at)s - n * interval '1 second',
        '{"prompt": "x"}', '{"status": "success", "durationMs": 800}'
    from generate_series(1, 500) n"""


@pytest.fixture(scope="module")
def shown(built: Home, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The built home with 500 calls of yesterday for each harmful name, as capability, provider and workspace."""
    with copy_home(built, postgres, tmp_path_factory.mktemp("shown")) as home:
        at = NOW - timedelta(hours=20)
        for number, name in enumerate(HARMFUL):
            home.execute(_CALLS, {"id": f"harm-{number}-", "name": name, "at": at})
        outcome = home.build(at.date(), NOW.date(), mode="days")
        assert outcome.succeeded, outcome.failure
        yield home


@pytest.fixture(scope="module")
def emptied(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose pipeline ran on an empty source."""
    with bare_home(postgres, tmp_path_factory.mktemp("emptied")) as home:
        outcome = home.build()
        assert outcome.succeeded, outcome.failure
        yield home


@pytest.fixture(scope="module")
def site(shown: Home) -> Iterator[str]:
    """The URL of the dashboards for that home."""
    with served(shown) as url:
        yield url


@pytest.fixture(scope="module")
def browser(site: str) -> Iterator[Browsing]:
    with browsing(site) as one:
        yield one


@pytest.fixture
def reader(browser: Browsing) -> Iterator[Reader]:
    """A new browser session. Asserts afterwards that there were no page errors and no requests to other hosts."""
    with browser.reader() as one:
        yield one
        assert one.page_errors == []
        assert one.outside == []


@pytest.fixture
def today() -> date:
    return NOW.date()
