"""`audit dashboards`: serve, check, generate and capture the dashboards."""

import socket
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import typer

from audit_assets.bi_export.files import FileDiff
from audit_assets.cli.clock import clock
from audit_assets.cli.output import FAILED, AsJson, err, out, print_json
from audit_assets.dashboards import capture as screenshots
from audit_assets.dashboards.definition.load import document, load_definition
from audit_assets.private_files import users_umask
from audit_assets.settings import DASHBOARDS_PORT, PROJECT_ROOT, Settings, SettingsError, read_settings
from audit_assets.warehouse.snapshot import NOTHING_PUBLISHED, SnapshotError, read_manifest


def generate(
    check_only: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file would change.")] = False,
) -> None:
    """Generate the Looker and Metabase files and the documentation page from the YAML, and list what changed."""
    from audit_assets.bi_export.files import diff_files, generated_files, write

    folder = read_settings().dashboards_folder
    definition = load_definition(folder)
    files = generated_files(definition)
    changes = diff_files(folder, files) if check_only else write(folder, files)
    if folder.is_relative_to(PROJECT_ROOT):  # the page documents the repository's own dashboards
        changes += _update_page(document(definition), check_only)
    for change in changes:
        line = str(change) if check_only else f"{change.file}: {_WRITTEN[change.kind]}"
        out.print(line, markup=False, soft_wrap=True)
    err.print(f"{len(files)} files, {len(changes)} {'not up to date' if check_only else 'changed'}")
    if check_only and changes:
        raise typer.Exit(FAILED)


def check(as_json: AsJson = False) -> None:
    """Load the dashboards, run each tile's query on empty tables, and compare the Looker and Metabase files with them.
    Exits 1 if there is a problem."""
    from audit_assets.bi_export.files import drift_problems, generated_files, tile_problems

    folder = read_settings().dashboards_folder
    definition = load_definition(folder)
    files = generated_files(definition)
    problems = [*tile_problems(definition), *drift_problems(folder, files)]
    tiles = sum(1 for _ in definition.tiles)
    if as_json:
        print_json({"files": len(files), "tiles": tiles, "problems": [asdict(problem) for problem in problems]})
    else:
        for problem in problems:
            out.print(str(problem), markup=False, soft_wrap=True)
        summary = f"{len(problems)} problems" if problems else "no problems"
        err.print(f"{len(files)} files, {tiles} tiles: {summary}")
    if problems:
        raise typer.Exit(FAILED)


def _update_page(text: str, check_only: bool) -> list[FileDiff]:
    """Writes `text` to docs/ai-audit-dashboards.md, unless `check_only`. Returns the change, if any."""
    path = PROJECT_ROOT / "docs" / "ai-audit-dashboards.md"
    if path.exists() and path.read_text() == text:
        return []
    change = FileDiff(f"docs/{path.name}", "changed" if path.exists() else "new")
    if not check_only:
        with users_umask():
            path.write_text(text)
    return [change]


_WRITTEN = {"new": "written", "changed": "updated", "deleted": "removed"}


FOLDER = PROJECT_ROOT / "docs/assets/ai-audit-observability"


def capture(
    to: Annotated[Path, typer.Option("--out", help="Folder for Overview.png, Workspace.png, Capability.png.")] = FOLDER,
    theme: Annotated[Literal["light", "dark"], typer.Option(help="Color theme of the pages.")] = "light",
    width: Annotated[int, typer.Option(min=400, max=4000, help="Pixels; the height follows the page.")] = 1440,
) -> None:
    """Take a screenshot of each tab over the published snapshot, with the locally installed Chromium."""
    settings = read_settings()
    if read_manifest(settings.snapshot_folder) is None:
        raise SnapshotError(NOTHING_PUBLISHED)
    for path in screenshots.capture(to, theme, width, clock().fixed_at):
        out.print(f"{path}  {path.stat().st_size / 1000:,.0f} kB", soft_wrap=True)


dashboards_app = typer.Typer(help="The dashboards: Overview, Workspace, Capability.", no_args_is_help=True)


@dashboards_app.command("serve")
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: the port of AI_AUDIT_DASHBOARD_URL, or 8050.")
    ] = None,
) -> None:
    """Serve the dashboards from the published snapshot until SIGINT or SIGTERM. There is no login: put a proxy in front
    of them."""
    settings = read_settings()
    chosen = port or dashboards_port(settings)
    need_port(host, chosen, "--port")
    # Imported here because Dash and Plotly take seconds to import, and no other command needs them.
    from audit_assets.dashboards.server.app import serve_dashboards

    serve_dashboards(settings, host, chosen, lambda: out.print(f"Dashboards: http://localhost:{chosen}"), clock())


def dashboards_port(settings: Settings) -> int:
    """The port of AI_AUDIT_DASHBOARD_URL if its host is this machine, else the default port."""
    address = urlsplit(settings.dashboard_url)
    return (address.port if address.hostname in ("localhost", "127.0.0.1") else None) or DASHBOARDS_PORT


def need_port(host: str, port: int, setting: str) -> None:
    """Raises SettingsError if the port is in use. The message names `setting`, which chooses another port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise SettingsError(
                f"port {port} is in use; stop the process that listens there, or choose another port with {setting}"
            ) from None


dashboards_app.command("check")(check)
dashboards_app.command("generate")(generate)
dashboards_app.command("capture")(capture)
