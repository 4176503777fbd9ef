"""Delivery under failures: the alert ledger and its deliverers run as processes that are killed by SIGKILL at random
moments, with providers that fail one request in five. The figures are counted from the providers' logs.
"""

from benchmarks.figure import Figure, at_least, at_most
from benchmarks.home import temporary_folder
from tools.alerting_chaos import ChaosResult, chaos

EPISODES, KILLS = 50, 200
QUICK_EPISODES, QUICK_KILLS = 5, 6


def measure(quick: bool = False) -> tuple[Figure, ...]:
    episodes, kills = (QUICK_EPISODES, QUICK_KILLS) if quick else (EPISODES, KILLS)
    with temporary_folder() as folder:
        return figures_of(chaos(f"sqlite:///{folder / 'alerts.db'}", folder, episodes, kills), kills)


def figures_of(after: ChaosResult, kills: int) -> tuple[Figure, ...]:
    received, killed = after.seen, sum(after.kills.values())
    failed = sum(number for (_, status), number in received.requests.items() if status in (0, 429, 503))
    how = ", ".join(f"{number} {role}ers" for role, number in sorted(after.kills.items()))
    return (
        Figure("processes killed while at work", killed, "", None, f"{how}, of {kills} kills; {after.seconds:.0f} s"),
        Figure(
            "requests the providers failed", failed / max(sum(received.requests.values()), 1) * 100, "%", None,
            f"{failed:,} of {sum(received.requests.values()):,}: 5xx, 429, or no answer after processing",
        ),
        Figure("incidents lost", after.lost, "", at_most(0), f"of {after.episodes} episodes"),
        Figure("incidents not opened once and closed", len(after.not_once), "", at_most(0), "by the keys at PagerDuty"),
        Figure(
            "Slack messages", len(received.posts), "", at_least(after.episodes), f"and {len(received.replies)} replies"
        ),
        Figure("duplicate Slack messages", len(received.delivered_twice), "", at_most(0), "by their metadata"),
        Figure("deliveries left over", after.left, "", at_most(0), "pending, leased, held or parked"),
    )  # fmt: skip
