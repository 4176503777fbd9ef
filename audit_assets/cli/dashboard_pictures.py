"""`audit dashboards capture`: pictures of the three tabs, as the documents show them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from audit_assets.cli.screen import out
from audit_assets.dashboards import capture as pictures
from audit_assets.settings import PROJECT_ROOT, read_settings
from audit_assets.warehouse.snapshot import NOTHING_PUBLISHED, SnapshotError, read_manifest

FOLDER = PROJECT_ROOT / "docs/assets/ai-audit-observability"


def capture(
    to: Annotated[Path, typer.Option("--out", help="Folder for Overview.png, Workspace.png, Capability.png.")] = FOLDER,
    theme: Annotated[Literal["light", "dark"], typer.Option(help="The pages' colours.")] = "light",
    width: Annotated[int, typer.Option(min=400, max=4000, help="Pixels; the height is the page's.")] = 1440,
) -> None:
    """Take a picture of each tab over the published snapshot, with the Chromium of this machine."""
    settings = read_settings()
    if read_manifest(settings.snapshot_folder) is None:
        raise SnapshotError(NOTHING_PUBLISHED)
    for path in pictures.capture(to, theme, width):
        out.print(f"{path}  {path.stat().st_size / 1000:,.0f} kB", soft_wrap=True)
