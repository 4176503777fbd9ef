"""Alert routes, as defined in observability/alerts/routing.yaml: who is notified about what."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from audit_assets.config.validation import Duration, FrozenModel, InvalidFileError, parse_model
from audit_assets.rules.model import Line, Name, Rule

Channel = Annotated[str, StringConstraints(pattern=r"^#[a-z0-9][a-z0-9_-]{0,78}$")]
# An issue of a JIRA project (type Task unless another is named), or a POST to the URL in the environment.
Ticket = Annotated[str, StringConstraints(pattern=r"^(webhook|jira:[A-Z][A-Z0-9_]+(/[A-Za-z][A-Za-z -]*)?)$")]


class RoutingError(Exception):
    """The routing file is invalid. The message names file, line, field and fix."""


class Service(FrozenModel):
    """A PagerDuty service and its escalation order."""

    service: Line = Field(description="the name of the PagerDuty service")
    escalation: tuple[Line, ...] = Field(min_length=1, description="who is paged, in order")


class Route(FrozenModel):
    """Where a notification goes: an incident, a channel, a ticket, or several of them."""

    description: Line = Field(description="what the route is for, in one line")
    pagerduty: Service | None = Field(
        default=None, description="the service on which an incident is opened, and who is paged"
    )
    slack: Channel | None = Field(default=None, description='a channel, in quotes: "#ai-copilot-ops"')
    remind_after: Duration | None = Field(
        default=None,
        description="how often a reminder is posted in the thread of an open alert, such as 4h; omit it for none",
    )
    ticket: Ticket | None = Field(
        default=None, description="jira:PROJECT, jira:PROJECT/Issue type, or webhook: where a ticket is filed"
    )
    drill_tickets: bool = Field(default=False, description="whether tickets are filed for drills too")
    hold_until_drill: bool = Field(default=False, description="whether paging is held until a drill is on record")


class Routing(FrozenModel):
    """All routes by name."""

    routes: Mapping[Name, Route] = Field(min_length=1, description="routes by name")

    def with_channels(self, ops: Channel | None, compliance: Channel | None) -> "Routing":
        """A copy with other Slack channels: `compliance` for the route of that name, `ops` for all others."""

        def with_channel(name: str, route: Route) -> Route:
            channel = compliance if name == "compliance" else ops
            return route.model_copy(update={"slack": channel}) if route.slack and channel else route

        return Routing(routes={name: with_channel(name, route) for name, route in self.routes.items()})

    def pages(self, rule: Rule) -> bool:
        """Whether `rule` pages someone."""
        return any(self.routes[name].pagerduty is not None for name in rule.routes if name in self.routes)


def read_routing(path: Path) -> Routing:
    """Reads the routes of the file `path`. Raises RoutingError."""
    try:
        routing, document = parse_model(path.name, path.read_bytes(), Routing)
    except OSError as error:
        raise RoutingError(f"{path}: {error.strerror}; routing.yaml belongs beside the folder of rules") from None
    except InvalidFileError as error:
        raise RoutingError(str(error)) from None
    for name, route in routing.routes.items():
        if route.pagerduty is None and route.slack is None and route.ticket is None:
            line = document.line(("routes", name))
            raise RoutingError(f"{path.name}:{line}: routes.{name}: has no destination; add slack, pagerduty or ticket")
    return routing
