"""The quality of the volume rules on labeled series: real request counts with injected spikes and drops. The data set
is read from `DETECTION_BENCHMARK`, by default from shared/bench/detection next to the checkout.

It runs the rules of the rule files through `audit rules backtest --counts`, with one setting for all series, and scores
them with the benchmark's own script. There is one figure per source, because a rule must work on all kinds of traffic,
and one with that source left out: with the strictness that is best on the other sources, to show the effect of tuning.
"""

import csv
import importlib.util
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from audit_assets.settings import PROJECT_ROOT
from benchmarks.figure import BenchmarkError, Figure, at_least, at_most
from benchmarks.home import make_home, temporary_folder
from benchmarks.process import run_module

_RULES = ("volume_spike", "volume_drop")
_STRICTNESS = (0.9, 1.0, 1.1, 1.25)  # scales every multiple in comparisons; 1 leaves the rules unchanged
# The multiples in comparisons with earlier days, but not shares of the window itself.
_MULTIPLE = {
    "volume_spike": re.compile(r"(?<=> )([\d.]+)(?= \* \(?(?!count_))"),
    "volume_drop": re.compile(r"(?<=< )([\d.]+)(?= \* \(?(?!count_))"),
}

Alert = tuple[str, int, str]  # series, bin, type


def measure() -> tuple[Figure, ...]:
    place = Path(os.environ.get("DETECTION_BENCHMARK", PROJECT_ROOT.parent / "shared/bench/detection"))
    if not (place / "dev.parquet").exists():
        return (Figure("F1 of spikes and drops", None, "", at_least(0.6), f"{place} is missing"),)
    labels: dict[str, Any] = json.loads((place / "dev_labels.json").read_text())
    score = _scorer(place / "score.py")
    counts = pl.read_parquet(place / "dev.parquet")
    by_strictness = {strictness: _alerts(counts, labels, strictness) for strictness in _STRICTNESS}
    alerts = by_strictness[1.0]
    figures = list(_overall(score(labels, alerts), labels, alerts))

    def scored(names: Collection[str], strictness: float) -> Any:
        own = [alert for alert in by_strictness[strictness] if alert[0] in names]
        return score({name: labels[name] for name in names}, own)

    for source in sorted({name.split("/")[0] for name in labels}):
        inside = [name for name in labels if name.startswith(source + "/")]
        outside = [name for name in labels if name not in inside]
        found = scored(inside, 1.0)
        figures.append(Figure(f"F1 on {source}/*", found["f1"], "", None, _line(found)))
        best = max(_STRICTNESS, key=lambda strictness: scored(outside, strictness)["f1"])
        found = scored(inside, best)
        figures.append(
            Figure(f"F1 on {source}/*, left out", found["f1"], "", None, f"multiples x {best:g}; {_line(found)}")
        )
    return tuple(figures)


def _scorer(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("score", path)
    if spec is None or spec.loader is None:
        raise BenchmarkError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.score


def _alerts(counts: pl.DataFrame, labels: Mapping[str, Any], strictness: float) -> list[Alert]:
    """The rules' alerts on all series, with one run per bin width."""
    alerts: list[Alert] = []
    with temporary_folder() as folder:
        home = make_home(folder / "home")
        environment = {**home.environment, "AI_AUDIT_RULES": str(_rules(folder / "rules", strictness))}
        for bins in sorted({label["bins_per_day"] for label in labels.values()}):
            names = [name for name, label in labels.items() if label["bins_per_day"] == bins]
            file, out = folder / f"{bins}.parquet", folder / f"{bins}.csv"
            counts.filter(pl.col("series").is_in(names)).write_parquet(file)
            run_module(
                "audit_assets.cli", "rules", "backtest", *_RULES, "--counts", str(file),
                "--bin-minutes", str(1440 // bins), "--out", str(out), "--json", environment=environment,
            )  # fmt: skip
            with out.open() as rows:
                alerts += [(row["series"], int(row["bin"]), row["type"]) for row in csv.DictReader(rows)]
    return alerts


def _rules(folder: Path, strictness: float) -> Path:
    """A folder with the two rules, unchanged except for their multiples."""
    folder.mkdir()
    for name in _RULES:
        text = (PROJECT_ROOT / "observability/alerts/ai-audit" / f"{name}.yaml").read_text()
        ours, literal = text.replace("inhibited_by: [freshness_slo]\n", "").split("\nliteral:\n")
        if strictness != 1:
            ours = _scaled(ours, _MULTIPLE[name], strictness if name == "volume_spike" else 1 / strictness)
        (folder / f"{name}.yaml").write_text(f"{ours}\nliteral:\n{literal}")
    return folder


def _scaled(text: str, number: re.Pattern[str], by: float) -> str:
    return number.sub(lambda found: f"{float(found[1]) * by:.4f}", text)


def _overall(found: Mapping[str, Any], labels: Mapping[str, Any], alerts: Sequence[Alert]) -> tuple[Figure, ...]:
    total = found["by_event"].get("drop x0.0 6h", "0/0").split("/")
    recall = int(total[0]) / int(total[1]) if total[1] != "0" else None
    series = f"{len(labels)} series, {len(alerts)} alerts"
    return (
        Figure("F1 of spikes and drops", found["f1"], "", at_least(0.6), f"{series}; {_line(found)}"),
        Figure("recall of total outages of 6 h", recall, "", at_least(0.95), " of ".join(total)),
        Figure(
            "false alerts per series-week",
            found["false_per_week"],
            "",
            at_most(0.5),
            "natural anomalies count as false",
        ),
        Figure("delay, median", found["median_delay_h"], "h", at_most(2), json.dumps(found["by_event"])),
    )


def _line(found: Mapping[str, Any]) -> str:
    return (
        f"precision {found['precision']:.2f}, recall {found['recall']:.2f}, {found['false_per_week']:.2f} false per "
        f"series-week, delay {found['median_delay_h']} h"
    )
