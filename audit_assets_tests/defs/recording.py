"""Runs that are only recorded in Dagster's storage, as if they had been started."""

from collections.abc import Callable
from typing import cast

from dagster import DagsterRun
from dagster._core import test_utils

# Dagster types only some of its parameters.
create_run_for_test = cast("Callable[..., DagsterRun]", test_utils.create_run_for_test)
