"""Pools of texts for synthetic prompts and answers, escaped for JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import polars as pl

POOL = 1500

_VOCABULARY = """
please review the attached quarterly forecast and compare it with last year so that we can explain
variance by region product customer segment before Thursday contract clause liability renewal notice
invoice supplier payment terms risk summary table chart draft reply polite short formal translate
German French Japanese extract names dates amounts currency policy exclusion coverage limit claim
evidence timeline meeting notes decisions owners deadlines code function raises error test missing
index query latency budget headcount plan scenario assumption source document page paragraph figure
why how which list three five bullet points markdown email subject greeting closing tone
"""
_WORDS = _VOCABULARY.split()
_UNUSUAL = (
    *("naïve", "café", "Zürich", "São Paulo", "東京本社", "契約書", "übermäßig", "£1,250.00", "€ 3.400"),
    *("Москва", "العقد", "✅", "🚀", 'the "final" version', "C:\\reports\\q3", "50 %", "line one\nline two"),
    *("<b>bold</b>", "O'Brien", "a\tb", "…", "null", "{}", "=SUM(A1:A9)"),
)
_OPENINGS = (
    *("Please", "Could you", "Summarise:", "What is", "Draft", "Find", "Check whether", "Compare", "Explain"),
    *("Bitte", "Pourriez-vous", "以下を要約して:", "Rewrite", "List", "Context:"),
)


@dataclass(frozen=True)
class Texts:
    """Pools of text halves. A text is two halves with a space between."""

    prompts: pl.Series
    answers: pl.Series


def make_texts(seed: int) -> Texts:
    """The text pools of a seed. Lengths are log-normal: most are short, a few very long."""
    rng = np.random.default_rng([seed, 3])
    return Texts(_pool(rng, 9.0), _pool(rng, 13.0))


def draw_texts(rng: np.random.Generator, pool: pl.Series, size: int) -> pl.Series:
    """Draws `size` texts."""
    first, second = rng.integers(0, POOL, (2, size))
    return pool.gather(first) + " " + pool.gather(second)


def _pool(rng: np.random.Generator, median_words: float) -> pl.Series:
    lengths = np.clip(rng.lognormal(np.log(median_words), 0.7, POOL), 1, 160).astype(int)
    words = rng.integers(0, len(_WORDS), lengths.sum())
    unusual = rng.random(lengths.sum()) < 0.02
    unusual_words = rng.integers(0, len(_UNUSUAL), lengths.sum())
    openings = rng.integers(0, len(_OPENINGS), POOL)
    texts: list[str] = []
    start = 0
    for opening, length in zip(openings, lengths, strict=True):
        span = range(start, start + int(length))
        chosen = (_UNUSUAL[unusual_words[i]] if unusual[i] else _WORDS[words[i]] for i in span)
        texts.append(json.dumps(f"{_OPENINGS[opening]} {' '.join(chosen)}.", ensure_ascii=False)[1:-1])
        start += int(length)
    return pl.Series(texts)
