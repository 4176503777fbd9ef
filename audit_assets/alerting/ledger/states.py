"""The values of the ledger's state columns. They are published: in JSON output and in the export to the warehouse."""

from typing import Literal

AlertStatus = Literal["firing", "recovering", "resolved"]

# cleared       the rule no longer fires
# rule_removed  the rule's file was deleted
ResolveReason = Literal["cleared", "rule_removed"]

EventKind = Literal[
    "opened", "firing", "recovering", "acknowledged", "resolved",
    "remediation_planned", "remediation_approved", "remediation_applying", "remediation_applied",
    "remediation_not_applied",
]  # fmt: skip

# judged     its result was compared with the open episodes
# not_ready  a table it needs was not ready
# failed     it raised an error
# outdated   newer facts had been evaluated before
# removed    the rule's file was deleted
EvaluationOutcome = Literal["judged", "not_ready", "failed", "outdated", "removed"]

# trigger, resolve     an incident at PagerDuty
# post, edit, reply    a message in Slack
# ticket, comment      a ticket
# notice               a line about the alerting system itself
Action = Literal["trigger", "resolve", "post", "edit", "reply", "ticket", "comment", "notice"]

# pending     waits for an attempt
# inflight    leased to a deliverer
# sent        accepted by the provider
# parked      waits until a person fixes a token, a key or a channel
# suppressed  not sent because of a silence, or before a drill
# superseded  not sent: no longer needed
# dead        given up
DeliveryStatus = Literal["pending", "inflight", "sent", "parked", "suppressed", "superseded", "dead"]
