"""Records an evaluation in the ledger: opened, changed and closed episodes and their notifications, in one
transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy.engine import Connection

from audit_assets.alerting.ledger import store
from audit_assets.alerting.ledger.store import Evaluation, StoredAlert
from audit_assets.alerting.ledger.tables import Ledger
from audit_assets.alerting.links import Links
from audit_assets.alerting.notify.context import finding_of, look_alikes, recent_values
from audit_assets.alerting.notify.enqueue import GroupChange, enqueue_notification
from audit_assets.alerting.notify.notification import DRILLS, AlertState, Contributor, Notification
from audit_assets.alerting.notify.transitions import (
    Changes,
    Instance,
    find_changes,
    new_alert,
    resolve_alerts,
)
from audit_assets.rules.business_clock import BusinessCalendar
from audit_assets.rules.episode import Episode, Finding
from audit_assets.rules.facts import REGISTRY, TABLES
from audit_assets.rules.judge import Failure, RuleOutcome, RuleResult
from audit_assets.rules.model import Rule, RuleSet
from audit_assets.rules.routing import Routing
from audit_assets.rules.top_contributors import cause, contributors, newly_registered
from audit_assets.text.sanitize import escape

CHECK_ERROR = "check_error"  # the id of the rule about rules whose evaluation fails

# Episodes of a rule that open within this time of the first share its message.
_GROUP_WINDOW = timedelta(hours=1)
_FAILURES = 3  # consecutive failed evaluations before an alert opens


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """One evaluation of all rules: the results, the facts, and the Dagster run that produced them. Times are UTC.

    `as_of` is the time up to which the facts in `tables` are known, except for the tables in `known_until`. A table's
    entry in `versions` grows with each publishing that wrote it. `deployment` separates this installation's episodes
    from those of another.
    """

    rule_set: RuleSet
    results: Sequence[RuleOutcome]
    tables: Mapping[str, pl.DataFrame]
    calendar: BusinessCalendar
    as_of: datetime
    now: datetime
    run_id: str
    deployment: str
    routing: Routing
    links: Links
    run_url: str | None = None
    known_until: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    versions: Mapping[str, int] = field(default_factory=dict[str, int])

    def as_of_rule(self, rule_id: str) -> datetime:
        """The time (UTC) up to which the table that a rule watches is known."""
        rule = self.rule_set.rule(rule_id)
        return self.known_until.get(rule.watch, self.as_of) if rule else self.as_of

    def version_of(self, rule_id: str) -> int | None:
        """The version of the table that a rule watches; None if it has none."""
        rule = self.rule_set.rule(rule_id)
        return self.versions.get(rule.watch) if rule else None


@dataclass(slots=True)
class RecordedCounts:
    """Numbers of episodes opened and resolved, and of evaluations ignored: duplicates, or older than the newest one."""

    opened: int = 0
    resolved: int = 0
    ignored: int = 0


def record_evaluation(ledger: Ledger, run: EvaluationRun) -> RecordedCounts:
    """Writes one evaluation of all rules to the ledger.

    Recording the same evaluation again changes nothing. An evaluation of older facts than the newest recorded one is
    stored as `outdated` and otherwise ignored. Raises LedgerError, and then nothing is written.
    """
    recorded = RecordedCounts()
    with ledger.transaction(exclusive=True) as connection:
        store.claim_ledger(connection, run.deployment)
        for result in run.results:
            if isinstance(result, Failure):
                _record_failure(connection, run, result, recorded)
            else:
                _record_result(connection, run, result, recorded)
        _resolve_removed_rules(connection, run, recorded)
    return recorded


def _record_result(connection: Connection, run: EvaluationRun, result: RuleResult, recorded: RecordedCounts) -> None:
    rule = run.rule_set.rule(result.rule_id)
    if rule is None:
        raise ValueError(f"{result.rule_id} was evaluated, but is not among the rules")
    evaluation = _evaluation(run, result)
    if store.has_evaluation(connection, evaluation.id):
        recorded.ignored += 1
        return
    newest = store.last_evaluation(connection, rule.id, run.now)
    if newest is not None and _is_older(evaluation, newest):
        store.add_evaluation(connection, replace(evaluation, outcome="outdated"))
        recorded.ignored += 1
        return
    store.add_evaluation(connection, evaluation)
    _resolve_check_error(connection, run, rule.id, evaluation, recorded)
    if result.not_ready:
        return
    known = {stored.instance: stored for stored in store.open_episodes(connection, rule.id)}
    width = timedelta() if rule.window == "now" else TABLES[rule.watch].width
    before = {instance: (stored.alert, stored.as_of) for instance, stored in known.items()}
    found = find_changes(before, result, width, evaluation.as_of, run.now)
    _apply(connection, run, rule, found, known, evaluation, recorded)


def _is_older(evaluation: Evaluation, newest: Evaluation) -> bool:
    """Whether newer facts have been evaluated already. The later of two publishings has the newer facts, whatever time
    they are known up to. Evaluations by earlier versions of this program have no facts version."""
    if evaluation.facts_version is not None and newest.facts_version is not None:
        return (newest.facts_version, newest.window_end) > (evaluation.facts_version, evaluation.window_end)
    return (newest.as_of, newest.window_end) > (evaluation.as_of, evaluation.window_end)


def _apply(
    connection: Connection,
    run: EvaluationRun,
    rule: Rule,
    found: Changes,
    known: Mapping[Instance, StoredAlert],
    evaluation: Evaluation,
    recorded: RecordedCounts,
) -> None:
    by_key = {stored.alert.key: stored for stored in known.values()}
    for alert in found.updated:
        if by_key[alert.key].alert.state != alert.state:
            store.add_event(connection, alert, alert.state, evaluation)
        store.update_alert(connection, alert, evaluation.as_of)
    closed: dict[str, list[AlertState]] = {}
    for alert in found.resolved:
        store.update_alert(connection, alert, evaluation.as_of)
        store.add_event(connection, alert, "resolved", evaluation, alert.resolve_reason)
        closed.setdefault(by_key[alert.key].group_key, []).append(alert)
    opened: dict[str, list[AlertState]] = {}
    for instance, episode in found.opened:
        fingerprint = instance.fingerprint(run.deployment)
        group_key = _group_key(connection, run, rule, instance.environment, fingerprint)
        number = store.next_number(connection, fingerprint)
        key = f"ai-audit/{instance.environment}/{rule.id}/{fingerprint}/{number}"
        alert = new_alert(episode, key, instance.environment)
        stored = StoredAlert(alert, rule.id, group_key, evaluation.as_of, in_summary=False)
        store.add_alert(
            connection, stored, fingerprint=fingerprint, number=number, severity=rule.severity, run_id=run.run_id
        )
        store.add_event(connection, alert, "opened", evaluation)
        opened.setdefault(group_key, []).append(alert)
    for group_key in sorted({*opened, *closed}):
        change = GroupChange(rule, group_key, tuple(opened.get(group_key, ())), tuple(closed.get(group_key, ())))
        notification = _notification(connection, run, rule, group_key)
        enqueue_notification(connection, notification, change, run.routing, evaluation)
    recorded.opened += len(found.opened)
    recorded.resolved += len(found.resolved)


def _notification(connection: Connection, run: EvaluationRun, rule: Rule, group_key: str) -> Notification:
    alerts = [stored.alert for stored in store.alerts_of_group(connection, group_key)]
    known_until = run.as_of_rule(rule.id)
    history = recent_values(rule, alerts, run.tables, known_until, run.calendar)
    parts = contributors(finding_of(rule, alerts[0]), rule, run.tables) if rule.id != CHECK_ERROR else []
    registered, more = newly_registered(rule, run.tables)
    return Notification(
        rule=rule,
        alerts=tuple(replace(alert, history=history.get(alert.key, ())) for alert in alerts),
        now=run.now,
        data_until=known_until,
        links=run.links,
        contributors=tuple(Contributor(*part) for part in parts),
        run_url=run.run_url,
        pages=run.routing.pages(rule),
        look_alikes=_look_alikes(run, rule, alerts),
        cause=cause(rule, run.tables),
        registered=registered,
        more_registered=more,
    )


def _look_alikes(
    run: EvaluationRun, rule: Rule, alerts: Sequence[AlertState]
) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """The new capabilities whose name looks like that of a registered one."""
    if rule.watch != REGISTRY or REGISTRY not in run.tables:
        return {}
    registered = run.tables[REGISTRY].get_column("capability").drop_nulls().to_list()
    return look_alikes([alert.dimension("capability") for alert in alerts], registered)


def _group_key(connection: Connection, run: EvaluationRun, rule: Rule, environment: str, fingerprint: str) -> str:
    """The group (message) of a new episode: the rule's open group if that is younger than `_GROUP_WINDOW`, else a new
    one. An episode of a drill always gets a new group: another drill must not change its message or be counted with
    it."""
    key = f"ai-audit/{environment}/{rule.id}/{run.now:%Y%m%dT%H%M%S.%f}Z"
    if environment == DRILLS:
        key = f"{key}/{fingerprint}"
    else:
        shared = store.open_group(connection, rule.id, environment, run.now - _GROUP_WINDOW)
        if shared is not None:
            return shared
    store.add_group(connection, key, rule, environment, run.now)
    return key


def _record_failure(connection: Connection, run: EvaluationRun, failure: Failure, recorded: RecordedCounts) -> None:
    """Records a failed evaluation; open episodes keep their state. The third failure in a row opens a check error."""
    evaluation = Evaluation(
        id=f"{failure.rule_id}!{run.run_id}@{run.now.isoformat()}",
        rule_id=failure.rule_id, as_of=run.as_of_rule(failure.rule_id), window_end=None, at=run.now,
        outcome="failed", open=0, said=failure.message[:500], run_id=run.run_id,
    )  # fmt: skip
    if store.has_evaluation(connection, evaluation.id):
        recorded.ignored += 1
        return
    store.add_evaluation(connection, evaluation)
    if store.failures_in_a_row(connection, failure.rule_id, _FAILURES, run.now) < _FAILURES:
        return
    rule = _check_error_rule(failure)
    known = {stored.instance: stored for stored in store.open_episodes(connection, CHECK_ERROR)}
    instance, episode = _check_error(failure, run.now)
    if instance not in known:
        _apply(connection, run, rule, Changes(opened=((instance, episode),)), known, evaluation, recorded)


def _check_error_rule(failure: Failure) -> Rule:
    return store.stub_rule(
        id=CHECK_ERROR,
        title="AI Copilot Audit Rule Evaluation Failing",
        description=escape(failure.message.splitlines()[0] if failure.message else "no reason given", 400),
        kind="failure",
        severity="error",
        routes=("ops",),
        colour="#DC2626",
        runbook="incident-response",
        unit="count",
        value_is=None,
    )


def _check_error(failure: Failure, now: datetime) -> tuple[Instance, Episode]:
    """The episode of a rule whose evaluation fails, from `now` (UTC) on."""
    dimensions = (("rule", failure.rule_id),)
    finding = Finding(CHECK_ERROR, "live", dimensions, None, None, None, None, now, now)
    return Instance(CHECK_ERROR, "live", dimensions), Episode(
        state="firing", since=now, at=now, opened_at=now, last_fired_at=now, resolved_at=None,
        recent=(True,), latest=finding, worst=finding,
    )  # fmt: skip


def _resolve_check_error(
    connection: Connection, run: EvaluationRun, rule_id: str, evaluation: Evaluation, recorded: RecordedCounts
) -> None:
    """Resolves the check error of a rule whose evaluation works again."""
    known = {
        stored.instance: stored
        for stored in store.open_episodes(connection, CHECK_ERROR)
        if stored.alert.dimension("rule") == rule_id
    }
    if known:
        resolved = resolve_alerts([stored.alert for stored in known.values()], run.now, "cleared")
        rule = store.rule_of_group(connection, next(iter(known.values())).group_key)
        _apply(connection, run, rule, Changes(resolved=resolved), known, evaluation, recorded)


def _resolve_removed_rules(connection: Connection, run: EvaluationRun, recorded: RecordedCounts) -> None:
    """Resolves the open episodes of rules whose files were deleted. A file that fails to load counts as present."""
    known: dict[str, dict[Instance, StoredAlert]] = {}
    for stored in store.open_episodes(connection):
        about = stored.alert.dimension("rule") if stored.rule_id == CHECK_ERROR else stored.rule_id
        if about not in run.rule_set.ids:
            known.setdefault(stored.rule_id, {})[stored.instance] = stored
    for rule_id, removed in known.items():
        evaluation = Evaluation(
            id=f"{rule_id}-@{run.now.isoformat()}", rule_id=rule_id, as_of=run.as_of, window_end=None,
            at=run.now, outcome="removed", open=0, said=None, run_id=run.run_id,
        )  # fmt: skip
        store.add_evaluation(connection, evaluation)
        resolved = resolve_alerts([stored.alert for stored in removed.values()], run.now, "rule_removed")
        rule = store.rule_of_group(connection, next(iter(removed.values())).group_key)
        _apply(connection, run, rule, Changes(resolved=resolved), removed, evaluation, recorded)


def _evaluation(run: EvaluationRun, result: RuleResult) -> Evaluation:
    """The evaluation of one rule. Its id depends on the facts and not on the time, so that evaluating the same facts
    again gives the same evaluation. A rule that was not ready is evaluated on the same facts once it is ready."""
    as_of, version = run.as_of_rule(result.rule_id), run.version_of(result.rule_id)
    facts = as_of.isoformat() if version is None else f"{as_of.isoformat()}/{version}"
    waits = "/not_ready" if result.not_ready else ""
    return Evaluation(
        id=f"{result.rule_id}@{result.window_end.isoformat()}/{facts}{waits}",
        facts_version=version,
        rule_id=result.rule_id,
        as_of=as_of,
        window_end=result.window_end,
        at=run.now,
        outcome="not_ready" if result.not_ready else "judged",
        open=len(result.episodes),
        said=", ".join(result.not_ready) or None,
        run_id=run.run_id,
    )
