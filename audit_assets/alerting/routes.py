"""Who is told: routing.yaml, with the channels the environment names in place of its own."""

from audit_assets.rules.routing import Routing, read_routing
from audit_assets.settings import Settings


def routes_of(settings: Settings) -> Routing:
    """The routes as they are used. Raises RoutingError."""
    return read_routing(settings.routing_file).with_channels(settings.slack_channel, settings.slack_compliance_channel)
