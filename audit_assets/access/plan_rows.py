"""Row access policies, wanted against there."""

from collections.abc import Iterator, Mapping

from audit_assets.access import statements
from audit_assets.access.changes import Change, Effect, Statement
from audit_assets.access.model import Datasets, Policy, RowPolicy
from audit_assets.warehouse.access import RowPolicyThere, State


def row_policies(policy: Policy, place: Datasets, state: State) -> Iterator[Change]:
    """Policies to make or change. Those for every row come first: with the first policy of a table, whoever has none
    sees no row of it, and the accounts that write must not be among them."""
    for table, rows in policy.rows.tables.items():
        if table not in state.tables:
            continue
        there = state.tables[table].row_policies
        ordered = sorted(rows.policies.items(), key=lambda item: not statements.is_every_row(item[1]))
        for name, one in ordered:
            now = there.get(statements.policy_name(name))
            if now is not None and _same(one, now, policy):
                continue
            sql = statements.create_row_policy(place, table, name, one, policy)
            effect, said = _told(name, one, now, f"{place.dataset}.{table}", policy)
            yield Change(effect, f"{place.dataset}.{table}", said, Statement(sql))


def dropped_policies(policy: Policy, place: Datasets, state: State) -> Iterator[Change]:
    """Policies that the YAML has no more, or never had, on a table whose policies are ours."""
    for table, there in sorted(state.tables.items()):
        gone = _gone(policy, table, there.row_policies)
        target = f"{place.dataset}.{table}"
        if gone and table not in policy.rows.tables and len(gone) == len(there.row_policies):
            said = f"{target} has no row policies any more: its readers see every row"
            yield Change("opens", target, said, Statement(statements.drop_row_policies(place, table)))
            continue
        for name in gone:
            named = ", ".join(policy.called(one) for one in sorted(there.row_policies[name].principals))
            said = f"{named or 'nobody'} no longer see rows of {target} where {there.row_policies[name].filter}"
            yield Change("narrows", target, said, Statement(statements.drop_row_policy(place, table, name)))


def _gone(policy: Policy, table: str, there: Mapping[str, RowPolicyThere]) -> list[str]:
    rows = policy.rows.tables.get(table)
    wanted = {statements.policy_name(name) for name in rows.policies} if rows else set[str]()
    return sorted(name for name in there if name not in wanted and (rows or name.startswith(statements.PREFIX)))


def _same(one: RowPolicy, now: RowPolicyThere, policy: Policy) -> bool:
    same_rows = statements.canonical(one.filter) == statements.canonical(now.filter)
    return same_rows and now.principals == policy.principals(one.to)


def _told(name: str, one: RowPolicy, now: RowPolicyThere | None, target: str, policy: Policy) -> tuple[Effect, str]:
    wanted = policy.principals(one.to)
    which = "every row" if statements.is_every_row(one) else f"rows where {one.filter}"
    if now is None:
        return "narrows", f"{', '.join(one.to)} see {which} of {target}"
    said = [f"the policy {name} of {target} shows {which}"]
    if statements.canonical(now.filter) != statements.canonical(one.filter):
        said.append(f"no longer those where {now.filter}")
    for verb, principals in (("gain it", wanted - now.principals), ("lose it", now.principals - wanted)):
        if principals:
            said.append(f"{', '.join(policy.called(principal) for principal in sorted(principals))} {verb}")
    return "opens" if wanted - now.principals else "narrows", "; ".join(said)
