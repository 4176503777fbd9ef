"""An evaluation into the ledger: what opened, changed and closed, and what is to be told of it, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy.engine import Connection

from audit_assets.alerting import record
from audit_assets.alerting.check_error import CHECK_ERROR, check_error, check_error_rule, stub, stub_of
from audit_assets.alerting.history import finding_of, histories
from audit_assets.alerting.ledger import Ledger
from audit_assets.alerting.links import Links
from audit_assets.alerting.record import Evaluation, OnRecord
from audit_assets.alerting.story import Contributor, Story, Told
from audit_assets.alerting.telling import Tale, tell
from audit_assets.alerting.transitions import CLEARED, RULE_REMOVED, Changes, Instance, begun, changes, ended
from audit_assets.rules.calendar import BusinessCalendar
from audit_assets.rules.contributors import contributors
from audit_assets.rules.facts import TABLES
from audit_assets.rules.judge import Failure, Judgement, Verdict
from audit_assets.rules.model import Rule, RuleSet
from audit_assets.rules.routing import Routing

# Episodes of a rule that open within this time of the first share its message.
_TOGETHER = timedelta(hours=1)
_FAILURES = 3  # evaluations in a row that raised, before somebody is told


@dataclass(frozen=True, slots=True)
class Judged:
    """What was judged, when and by which run. `as_of` is what the facts in `tables` are known up to; times are UTC.
    `deployment` tells this installation's episodes from those of another."""

    rule_set: RuleSet
    verdicts: Sequence[Verdict]
    tables: Mapping[str, pl.DataFrame]
    calendar: BusinessCalendar
    as_of: datetime
    now: datetime
    run_id: str
    deployment: str
    routing: Routing
    links: Links
    run_url: str | None = None


@dataclass(slots=True)
class Recorded:
    """How many episodes opened and closed, and how many evaluations were known already or older than what is known."""

    opened: int = 0
    resolved: int = 0
    ignored: int = 0


def record_judged(ledger: Ledger, judged: Judged) -> Recorded:
    """Writes one judging of all rules. A second time it changes nothing; an older one than what is on record is kept
    and ignored. Raises LedgerError, and then nothing is written."""
    recorded = Recorded()
    with ledger.transaction(alone=True) as connection:
        record.belong_to(connection, judged.deployment)
        for verdict in judged.verdicts:
            if isinstance(verdict, Failure):
                _failed(connection, judged, verdict, recorded)
            else:
                _spoken(connection, judged, verdict, recorded)
        _gone(connection, judged, recorded)
    return recorded


def _spoken(connection: Connection, judged: Judged, verdict: Judgement, recorded: Recorded) -> None:
    rule = judged.rule_set.rule(verdict.rule_id)
    if rule is None:
        raise ValueError(f"{verdict.rule_id} was judged, but is not among the rules")
    evaluation = _evaluation(judged, verdict)
    if record.is_known(connection, evaluation.id):
        recorded.ignored += 1
        return
    newest = record.last_evaluation(connection, rule.id, judged.now)
    if newest is not None and (newest.as_of, newest.window_end) > (evaluation.as_of, evaluation.window_end):
        record.keep(connection, replace(evaluation, outcome="outdated"))
        recorded.ignored += 1
        return
    record.keep(connection, evaluation)
    _recovered(connection, judged, rule.id, evaluation, recorded)
    if verdict.not_ready:
        return
    known = {one.instance: one for one in record.open_episodes(connection, rule.id)}
    width = timedelta() if rule.window == "now" else TABLES[rule.watch].width
    before = {instance: (one.told, one.as_of) for instance, one in known.items()}
    found = changes(before, verdict, width, judged.as_of, judged.now)
    _apply(connection, judged, rule, found, known, evaluation, recorded)


def _apply(
    connection: Connection,
    judged: Judged,
    rule: Rule,
    found: Changes,
    known: Mapping[Instance, OnRecord],
    evaluation: Evaluation,
    recorded: Recorded,
) -> None:
    by_key = {one.told.key: one for one in known.values()}
    for told in found.updated:
        if by_key[told.key].told.state != told.state:
            record.note(connection, told, told.state, evaluation)
        record.renew(connection, told, judged.as_of)
    closed: dict[str, list[Told]] = {}
    for told in found.resolved:
        record.renew(connection, told, judged.as_of)
        record.note(connection, told, "resolved", evaluation, told.resolve_reason)
        closed.setdefault(by_key[told.key].group_key, []).append(told)
    opened: dict[str, list[Told]] = {}
    for instance, episode in found.opened:
        group_key = _group(connection, judged, rule, instance.environment)
        fingerprint = instance.fingerprint(judged.deployment)
        number = record.next_number(connection, fingerprint)
        key = f"ai-audit/{instance.environment}/{rule.id}/{fingerprint}/{number}"
        told = begun(episode, key, instance.environment)
        one = OnRecord(told, rule.id, group_key, judged.as_of, in_summary=False)
        record.add(
            connection, one, fingerprint=fingerprint, number=number, severity=rule.severity, run_id=judged.run_id
        )
        record.note(connection, told, "opened", evaluation)
        opened.setdefault(group_key, []).append(told)
    for group_key in sorted({*opened, *closed}):
        tale = Tale(rule, group_key, tuple(opened.get(group_key, ())), tuple(closed.get(group_key, ())))
        tell(connection, _story(connection, judged, rule, group_key), tale, judged.routing, evaluation)
    recorded.opened += len(found.opened)
    recorded.resolved += len(found.resolved)


def _story(connection: Connection, judged: Judged, rule: Rule, group_key: str) -> Story:
    told = [one.told for one in record.of_group(connection, group_key)]
    history = histories(rule, told, judged.tables, judged.as_of, judged.calendar)
    parts = contributors(finding_of(rule, told[0]), rule, judged.tables) if rule.id != CHECK_ERROR else []
    return Story(
        rule=rule,
        told=tuple(replace(each, history=history.get(each.key, ())) for each in told),
        now=judged.now,
        data_until=judged.as_of,
        links=judged.links,
        contributors=tuple(Contributor(*part) for part in parts),
        run_url=judged.run_url,
        pages=judged.routing.pages(rule),
    )


def _group(connection: Connection, judged: Judged, rule: Rule, environment: str) -> str:
    """The message a new episode belongs to: one that is open and young, or one of its own."""
    shared = record.open_group(connection, rule.id, environment, judged.now - _TOGETHER)
    if shared is not None:
        return shared
    key = f"ai-audit/{environment}/{rule.id}/{judged.now:%Y%m%dT%H%M%S.%f}Z"
    record.add_group(connection, key, rule.id, environment, judged.now, stub_of(rule))
    return key


def _failed(connection: Connection, judged: Judged, failure: Failure, recorded: Recorded) -> None:
    """State is kept; what failed three times in a row is told."""
    evaluation = Evaluation(
        id=f"{failure.rule_id}!{judged.run_id}@{judged.now.isoformat()}",
        rule_id=failure.rule_id, as_of=judged.as_of, window_end=None, at=judged.now,
        outcome="failed", open=0, said=failure.message[:500], run_id=judged.run_id,
    )  # fmt: skip
    if record.is_known(connection, evaluation.id):
        recorded.ignored += 1
        return
    record.keep(connection, evaluation)
    if record.failures_in_a_row(connection, failure.rule_id, _FAILURES, judged.now) < _FAILURES:
        return
    rule = check_error_rule(failure)
    known = {one.instance: one for one in record.open_episodes(connection, CHECK_ERROR)}
    instance, episode = check_error(failure, judged.now)
    if instance not in known:
        _apply(connection, judged, rule, Changes(opened=((instance, episode),)), known, evaluation, recorded)


def _recovered(
    connection: Connection, judged: Judged, rule_id: str, evaluation: Evaluation, recorded: Recorded
) -> None:
    """A rule that judges again is no check error any more."""
    known = {
        one.instance: one
        for one in record.open_episodes(connection, CHECK_ERROR)
        if one.told.dimension("rule") == rule_id
    }
    if known:
        over = ended([one.told for one in known.values()], judged.now, CLEARED)
        rule = stub(record.rule_of_group(connection, next(iter(known.values())).group_key))
        _apply(connection, judged, rule, Changes(resolved=over), known, evaluation, recorded)


def _gone(connection: Connection, judged: Judged, recorded: Recorded) -> None:
    """Open episodes of rules whose files are gone. A file that does not load is there all the same."""
    known: dict[str, dict[Instance, OnRecord]] = {}
    for one in record.open_episodes(connection):
        about = one.told.dimension("rule") if one.rule_id == CHECK_ERROR else one.rule_id
        if about not in judged.rule_set.ids:
            known.setdefault(one.rule_id, {})[one.instance] = one
    for rule_id, gone in known.items():
        evaluation = Evaluation(
            id=f"{rule_id}-@{judged.now.isoformat()}", rule_id=rule_id, as_of=judged.as_of, window_end=None,
            at=judged.now, outcome="removed", open=0, said=None, run_id=judged.run_id,
        )  # fmt: skip
        record.keep(connection, evaluation)
        over = ended([one.told for one in gone.values()], judged.now, RULE_REMOVED)
        rule = stub(record.rule_of_group(connection, next(iter(gone.values())).group_key))
        _apply(connection, judged, rule, Changes(resolved=over), gone, evaluation, recorded)


def _evaluation(judged: Judged, verdict: Judgement) -> Evaluation:
    """Its id is made of what was judged, never of when: the same facts judged again are the same evaluation."""
    return Evaluation(
        id=f"{verdict.rule_id}@{verdict.window_end.isoformat()}/{judged.as_of.isoformat()}",
        rule_id=verdict.rule_id,
        as_of=judged.as_of,
        window_end=verdict.window_end,
        at=judged.now,
        outcome="not_ready" if verdict.not_ready else "judged",
        open=len(verdict.episodes),
        said=", ".join(verdict.not_ready) or None,
        run_id=judged.run_id,
    )
