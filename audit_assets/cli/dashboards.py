"""`audit dashboards`: serve the pages."""

import socket
from typing import Annotated
from urllib.parse import urlsplit

import typer

from audit_assets.cli import dashboard_files, dashboard_pictures
from audit_assets.cli.screen import out
from audit_assets.settings import DASHBOARDS_PORT, Settings, SettingsError, read_settings

dashboards_app = typer.Typer(help="The dashboards: Overview, Workspace, Capability.", no_args_is_help=True)


@dashboards_app.command("serve")
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: that of AI_AUDIT_DASHBOARD_URL, or 8050.")
    ] = None,
) -> None:
    """Serve the dashboards on the published snapshot until a signal. There is no login: put a proxy before them."""
    settings = read_settings()
    chosen = port or dashboards_port(settings)
    need_port(host, chosen, "--port")
    # Imported here: Dash and Plotly take seconds that no other command need wait for.
    from audit_assets.dashboards.serving import serve_dashboards

    serve_dashboards(settings, host, chosen, lambda: out.print(f"Dashboards: http://localhost:{chosen}"))


def dashboards_port(settings: Settings) -> int:
    """The port of the address links lead to where that is this machine, else the usual one."""
    address = urlsplit(settings.dashboard_url)
    return (address.port if address.hostname in ("localhost", "127.0.0.1") else None) or DASHBOARDS_PORT


def need_port(host: str, port: int, said_by: str) -> None:
    """Raises SettingsError where something listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise SettingsError(
                f"port {port} is taken; end what listens there or name another with {said_by}"
            ) from None


dashboards_app.command("check")(dashboard_files.check)
dashboards_app.command("generate")(dashboard_files.generate)
dashboards_app.command("capture")(dashboard_pictures.capture)
