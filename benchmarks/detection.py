"""What the volume rules find on labelled series: real request counts with injected spikes and drops, where those lie
beside the project (`DETECTION_BENCHMARK`, else shared/bench/detection beside the checkout).

The rules as they are in their files, through `audit rules backtest --counts`, one setting for all series; scored by the
benchmark's own script. A figure a source too: a rule that is good on one kind of traffic alone is none.
"""

import csv
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from audit_assets.settings import PROJECT_ROOT
from benchmarks.figure import BenchmarkError, Figure, at_least, at_most
from benchmarks.home import made_home, temporary_folder
from benchmarks.process import run_module

_RULES = ("volume_spike", "volume_drop")

Alert = tuple[str, int, str]  # series, bin, type


def measure() -> tuple[Figure, ...]:
    place = Path(os.environ.get("DETECTION_BENCHMARK", PROJECT_ROOT.parent / "shared/bench/detection"))
    if not (place / "dev.parquet").exists():
        return (Figure("F1 of spikes and drops", None, "", at_least(0.6), f"{place} is not there"),)
    labels: dict[str, Any] = json.loads((place / "dev_labels.json").read_text())
    score = _scorer(place / "score.py")
    alerts = _alerts(pl.read_parquet(place / "dev.parquet"), labels)
    told = list(_overall(score(labels, alerts), labels, alerts))
    for source in sorted({name.split("/")[0] for name in labels}):
        own = {name: label for name, label in labels.items() if name.startswith(source + "/")}
        found = score(own, [alert for alert in alerts if alert[0] in own])
        told.append(Figure(f"F1 on {source}/*", found["f1"], "", None, _line(found)))
    return tuple(told)


def _scorer(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("score", path)
    if spec is None or spec.loader is None:
        raise BenchmarkError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.score


def _alerts(counts: pl.DataFrame, labels: Mapping[str, Any]) -> list[Alert]:
    """The rules' alerts on all series; those of one bin width in one run."""
    told: list[Alert] = []
    with temporary_folder() as folder:
        home = made_home(folder / "home")
        for bins in sorted({label["bins_per_day"] for label in labels.values()}):
            names = [name for name, label in labels.items() if label["bins_per_day"] == bins]
            file, out = folder / f"{bins}.parquet", folder / f"{bins}.csv"
            counts.filter(pl.col("series").is_in(names)).write_parquet(file)
            run_module(
                "audit_assets.cli", "rules", "backtest", *_RULES, "--counts", str(file),
                "--bin-minutes", str(1440 // bins), "--out", str(out), "--json", environment=home.environment,
            )  # fmt: skip
            with out.open() as rows:
                told += [(row["series"], int(row["bin"]), row["type"]) for row in csv.DictReader(rows)]
    return told


def _overall(found: Mapping[str, Any], labels: Mapping[str, Any], alerts: Sequence[Alert]) -> tuple[Figure, ...]:
    total = found["by_event"].get("drop x0.0 6h", "0/0").split("/")
    recall = int(total[0]) / int(total[1]) if total[1] != "0" else None
    series = f"{len(labels)} series, {len(alerts)} alerts"
    return (
        Figure("F1 of spikes and drops", found["f1"], "", at_least(0.6), f"{series}; {_line(found)}"),
        Figure("recall of total outages of 6 h", recall, "", at_least(0.95), " of ".join(total)),
        Figure(
            "false alerts a series-week", found["false_per_week"], "", at_most(0.5), "natural anomalies count as false"
        ),
        Figure("delay, median", found["median_delay_h"], "h", at_most(2), json.dumps(found["by_event"])),
    )


def _line(found: Mapping[str, Any]) -> str:
    return (
        f"precision {found['precision']:.2f}, recall {found['recall']:.2f}, {found['false_per_week']:.2f} false a "
        f"series-week, delay {found['median_delay_h']} h"
    )
