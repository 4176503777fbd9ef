"""Source rows for given moments: ids, workspaces, and both metadata columns as JSON text."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import polars as pl

from audit_assets.demo.population import CAPABILITIES, PROVIDERS, SNAPSHOTS_PER_WORKSPACE, Population, snapshot_id

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

# The outcomes of requests: first five explicit statuses, then the ambiguous ones.
OUTCOMES = (
    *("success", "error", "timeout", "rate_limited", "content_filtered"),
    *("flag_only", "success_with_flag", "pending", "processing", "no_status"),
)
EVERYDAY = (0.9758, 0.0070, 0.0040, 0.0030, 0.0020, 0.0012, 0.0010, 0.0020, 0.0015, 0.0025)
ERRORS = slice(1, 7)  # the positions of errors in OUTCOMES
_FAILED = tuple(range(1, 6))
_STATUS = {name: None if name in ("flag_only", "no_status") else name.removesuffix("_with_flag") for name in OUTCOMES}
_FLAGS = (
    '{"code":"upstream_error","message":"the provider answered 502"}',
    '"the model returned nothing"',
    "true",
)
_PARAMETERS = tuple(
    f'{{"temperature":{temperature},"maxTokens":{tokens},"topP":1}}'
    for temperature in ("0", "0.2", "0.7")
    for tokens in (512, 1024, 4096)
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
    total = int(lengths.sum())
    words = rng.integers(0, len(_WORDS), total)
    unusual = rng.random(total) < 0.02
    unusual_words = rng.integers(0, len(_UNUSUAL), total)
    openings = rng.integers(0, len(_OPENINGS), POOL)
    texts: list[str] = []
    start = 0
    for opening, length in zip(openings, lengths, strict=True):
        span = range(start, start + int(length))
        chosen: list[str] = [_UNUSUAL[unusual_words[i]] if unusual[i] else _WORDS[words[i]] for i in span]
        texts.append(json.dumps(f"{_OPENINGS[opening]} {' '.join(chosen)}.", ensure_ascii=False)[1:-1])
        start += int(length)
    return pl.Series(texts)


@dataclass(frozen=True)
class Moments:
    """Per row, the index of a capability and a time in microseconds since 1970 UTC."""

    capability: np.ndarray
    micros: np.ndarray


@dataclass(frozen=True)
class OutcomeMix:
    """The odds of OUTCOMES, and the share of rows that belong to one runaway workspace."""

    odds: tuple[float, ...] = EVERYDAY
    runaway: float = 0.0


def rows(
    rng: np.random.Generator, population: Population, texts: Texts, moments: Moments, mix: OutcomeMix | None = None
) -> pl.DataFrame:
    """The source rows of `moments`: all columns of ai_audit_logs, metadata as JSON text."""
    mix = mix or OutcomeMix()
    size = len(moments.micros)
    provider = _pick(rng, population.provider_odds, moments.capability)
    workspace = _pick(rng, population.workspace_odds, moments.capability)
    workspace[rng.random(size) < mix.runaway] = 7
    outcome = _outcome(rng, provider, mix)
    failed = np.isin(outcome, _FAILED)
    names = pl.Series([capability.name for capability in CAPABILITIES]).gather(moments.capability)
    providers = pl.Series([entry.name for entry in PROVIDERS]).gather(provider)
    return pl.DataFrame(
        {
            "id": _ids(rng, moments.micros),
            "workflow_id": _with_nulls(rng, pl.Series(population.workspace_ids).gather(workspace), 0.995),
            "capability": _with_nulls(rng, names, 0.9995),
            "provider": _with_nulls(rng, providers, 0.9995),
            "created_at": pl.Series(moments.micros).cast(pl.Datetime("us", "UTC")),
            "request_metadata": _with_nulls(rng, _requests(rng, population, texts, moments, workspace), 0.9998),
            "response_metadata": _with_nulls(rng, _responses(rng, texts, moments, provider, outcome, failed), 0.9998),
        }
    )


def _pick(rng: np.random.Generator, odds: np.ndarray, capability: np.ndarray) -> np.ndarray:
    """Draws a column of `odds` (cumulative, one line per capability) for each row, with one search for all rows."""
    width = odds.shape[1]
    lines = (odds + np.arange(len(odds))[:, None]).ravel()
    found = np.searchsorted(lines, capability + rng.random(len(capability)), side="right")
    return np.minimum(found - capability * width, width - 1)


def _outcome(rng: np.random.Generator, provider: np.ndarray, mix: OutcomeMix) -> np.ndarray:
    """Draws an outcome for each row. The odds of errors depend on the provider."""
    odds = np.tile(np.array(mix.odds), (len(PROVIDERS), 1))
    odds[:, ERRORS] *= np.array([[entry.error_factor] for entry in PROVIDERS])
    odds[:, 0] = 1.0 - odds[:, 1:].sum(axis=1)
    return _pick(rng, np.cumsum(odds, axis=1), provider)


def _ids(rng: np.random.Generator, micros: np.ndarray) -> pl.Series:
    """UUIDs of version 7, which start with the time, so that consecutive rows are adjacent in the index."""
    size = len(micros)
    octets = rng.integers(0, 256, (size, 16), dtype=np.uint8)
    octets[:, :6] = (micros // 1000).astype(">u8").view(np.uint8).reshape(size, 8)[:, 2:]
    octets[:, 6] = octets[:, 6] & 0x0F | 0x70
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    digits = np.frombuffer(octets.tobytes().hex().encode(), dtype=np.uint8).reshape(size, 32)
    text = np.full((size, 36), ord("-"), dtype=np.uint8)
    text[:, [i for i in range(36) if i not in (8, 13, 18, 23)]] = digits
    return _fixed_width(text)


def _fixed_width(text: np.ndarray) -> pl.Series:
    width = text.shape[1]
    return pl.Series(text.view(f"S{width}").ravel().astype(f"U{width}").tolist(), dtype=pl.String)


def _with_nulls(rng: np.random.Generator, values: pl.Series, share: float) -> pl.Series:
    """`values` with about `share` of them kept and the others null."""
    return values.set(pl.Series(rng.random(len(values)) >= share), None)


def _key(name: str, values: pl.Series) -> pl.Series:
    """`,"name":value` for each value, nothing where it is null."""
    return (f',"{name}":' + values.cast(pl.String)).fill_null("")


def _quoted(values: pl.Series) -> pl.Series:
    return '"' + values + '"'


def _tokens(rng: np.random.Generator, moments: Moments, typical: list[int]) -> pl.Series:
    median = np.array(typical)[moments.capability]
    return pl.Series(np.maximum(median * rng.lognormal(0.0, 0.6, len(median)), 1).astype(np.int64))


def _requests(
    rng: np.random.Generator, population: Population, texts: Texts, moments: Moments, workspace: np.ndarray
) -> pl.Series:
    size = len(workspace)
    prompt = draw_texts(rng, texts.prompts, size)
    chat = pl.Series((moments.capability == 0) & (rng.random(size) < 0.5))
    as_messages = '{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"' + prompt + '"}]'
    content = as_messages.zip_with(chat, '{"prompt":"' + prompt + '"')
    documents = pl.Series(
        ["[" + ",".join(f'"doc-{pick}"' for pick in rng.integers(0, 4000, count)) + "]" for count in range(5)]
        + [f'["doc-{pick}"]' for pick in rng.integers(0, 4000, 300)]
        + [f'["doc-{first}","doc-{second}"]' for first, second in rng.integers(0, 4000, (300, 2))]
    )
    snapshot_ids = [
        snapshot_id(workspace_id, turn)
        for workspace_id in population.workspace_ids
        for turn in range(SNAPSHOTS_PER_WORKSPACE)
    ]
    turn = rng.integers(0, SNAPSHOTS_PER_WORKSPACE, size)
    snapshot = pl.Series(snapshot_ids).gather(workspace * SNAPSHOTS_PER_WORKSPACE + turn)
    prompt_tokens = _tokens(rng, moments, [capability.prompt_tokens for capability in CAPABILITIES])
    return (
        content
        + _key("promptTokens", _with_nulls(rng, prompt_tokens, 0.98))
        + _key("sourceDocuments", _with_nulls(rng, documents.gather(rng.integers(0, len(documents), size)), 0.6))
        + _key("snapshotId", _with_nulls(rng, _quoted(snapshot), 0.45))
        + "}"
    )


def _responses(
    rng: np.random.Generator,
    texts: Texts,
    moments: Moments,
    provider: np.ndarray,
    outcome: np.ndarray,
    failed: np.ndarray,
) -> pl.Series:
    size = len(outcome)
    model = pl.Series([name for entry in PROVIDERS for name in entry.models]).gather(
        provider * 2 + (rng.random(size) < 0.4)
    )
    status = pl.Series([_STATUS[name] for name in OUTCOMES], dtype=pl.String).gather(outcome)
    flagged = np.isin(outcome, (1, 5, 6)) | (failed & (rng.random(size) < 0.5))
    flag = pl.Series(_FLAGS).gather(rng.integers(0, len(_FLAGS), size)).set(pl.Series(~flagged), None)
    answered = pl.Series(~failed)
    completion = "cmpl-" + _fixed_width(
        np.frombuffer(rng.bytes(size * 8).hex().encode(), dtype=np.uint8).reshape(size, 16)
    )
    completion_tokens = _tokens(rng, moments, [capability.completion_tokens for capability in CAPABILITIES])
    return (
        '{"model":"'
        + model
        + '"'
        + _key("status", _quoted(status))
        + _key("error", flag)
        + _key("durationMs", _durations(rng, moments, provider, outcome))
        + _key("modelParameters", pl.Series(_PARAMETERS).gather(rng.integers(0, len(_PARAMETERS), size)))
        + _key("completionId", _quoted(completion).set(~answered, None))
        + _key("completionTokens", _with_nulls(rng, completion_tokens, 0.98).set(~answered, None))
        + _key("response", _quoted(draw_texts(rng, texts.answers, size)).set(~answered, None))
        + "}"
    )


def _durations(rng: np.random.Generator, moments: Moments, provider: np.ndarray, outcome: np.ndarray) -> pl.Series:
    """Log-normal milliseconds; timeouts at their limit, rate-limited calls at once. Some are text, junk or absent."""
    median = np.array([capability.median_ms for capability in CAPABILITIES])[moments.capability]
    pace = np.array([entry.pace for entry in PROVIDERS])[provider]
    millis = median * pace * rng.lognormal(0.0, 0.55, len(median))
    millis = np.where(outcome == 2, 30_000 + rng.random(len(median)) * 400, millis)
    millis = np.where(outcome == 3, 40 + rng.random(len(median)) * 160, millis)
    number = pl.Series(np.maximum(millis, 1).astype(np.int64)).cast(pl.String)
    form = rng.random(len(median))
    return (
        number.zip_with(pl.Series(form >= 0.02), _quoted(number))
        .set(pl.Series((form >= 0.02) & (form < 0.0203)), '"n/a"')
        .set(pl.Series((form >= 0.0203) & (form < 0.0303)), None)
    )
