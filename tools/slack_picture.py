"""Renders a Slack payload as an HTML page that looks like Slack, and as a picture.

Knows what the messages of this project use: header, section, fields, code, bold, buttons, context, and the attachment's
bar.
"""

import argparse
import html
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from audit_assets.dashboards.capture import ChromiumError, find_chromium
from audit_assets.settings import PROJECT_ROOT

PAYLOAD = PROJECT_ROOT / "audit_assets_tests/alerting/golden/slack/night.json"
PICTURE = PROJECT_ROOT / "docs/assets/alerts/slack-spike.png"
WIDTH, HEIGHT = 760, 590

_STYLE = """
body { margin: 0; background: #fff; color: #1d1c1d; font: 15px/1.46 Lato, 'Helvetica Neue', Arial, sans-serif; }
.message { display: flex; gap: 8px; padding: 12px 20px; }
.face { width: 36px; height: 36px; border-radius: 8px; background: #4a154b; color: #fff; font-weight: 700;
  display: grid; place-items: center; flex: none; }
.who b { font-weight: 900; } .who span { color: #616061; font-size: 12px; margin-left: 6px; }
.app { background: #ececed; border-radius: 3px; padding: 0 4px; font-size: 10px !important; font-weight: 700; }
.attachment { display: flex; margin-top: 6px; } .bar { width: 4px; border-radius: 8px; flex: none; }
.blocks { padding: 2px 12px; width: 600px; }
.header { font-size: 18px; font-weight: 900; margin: 4px 0 8px; }
.section { margin: 8px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.fields { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 16px; margin: 8px 0; white-space: pre-wrap; }
code { font: 12px/1.5 Monaco, Menlo, Consolas, 'DejaVu Sans Mono', monospace; color: #e01e5a; background: #f6f6f7;
  border: 1px solid #dededf; border-radius: 3px; padding: 1px 3px; white-space: pre; }
pre { font: 12px/1.5 Monaco, Menlo, Consolas, 'DejaVu Sans Mono', monospace; background: #f6f6f7; margin: 4px 0;
  border: 1px solid #dededf; border-radius: 4px; padding: 8px; overflow: auto; }
.actions { display: flex; gap: 8px; margin: 10px 0; flex-wrap: wrap; }
.button { border: 1px solid #bbb; border-radius: 4px; padding: 3px 12px; font-weight: 700; font-size: 13px;
  color: inherit; text-decoration: none; } .primary { background: #007a5a; border-color: #007a5a; color: #fff; }
.context { color: #616061; font-size: 12px; display: flex; flex-wrap: wrap; gap: 2px 10px; margin: 6px 0; }
.context code { font-size: 11px; }
"""


def page(payload: dict[str, Any], at: str = "3:05 AM") -> str:
    """`payload` as HTML that looks like Slack."""
    attachments = "".join(
        f'<div class="attachment"><div class="bar" style="background:{html.escape(each["color"])}"></div>'
        f'<div class="blocks">{"".join(map(_block, each["blocks"]))}</div></div>'
        for each in payload.get("attachments", [])
    )
    who = f'<div class="who"><b>AI Audit</b> <span class="app">APP</span><span>{at}</span></div>'
    body = f'<div>{who}<div class="section" style="margin:0">{_marked(payload["text"])}</div>{attachments}</div>'
    inside = f'<div class="message"><div class="face">AI</div>{body}</div>'
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><style>{_STYLE}</style><body>{inside}</body></html>'


def _block(block: dict[str, Any]) -> str:
    if block["type"] == "header":
        return f'<div class="header">{html.escape(block["text"]["text"])}</div>'
    if block["type"] == "section":
        text = f'<div class="section">{_object(block["text"])}</div>' if "text" in block else ""
        fields = "".join(f"<div>{_object(field)}</div>" for field in block.get("fields", []))
        return text + (f'<div class="fields">{fields}</div>' if fields else "")
    if block["type"] == "actions":
        return f'<div class="actions">{"".join(map(_button, block["elements"]))}</div>'
    if block["type"] == "context":
        return f'<div class="context">{"".join(f"<span>{_object(each)}</span>" for each in block["elements"])}</div>'
    raise ValueError(f"{block['type']}: this page does not support such a block; add it here")


def _button(button: dict[str, Any]) -> str:
    kind = "button primary" if button.get("style") == "primary" else "button"
    return f'<a class="{kind}" href="{html.escape(button["url"])}">{html.escape(button["text"]["text"])}</a>'


def _object(text: dict[str, Any]) -> str:
    return _marked(text["text"]) if text["type"] == "mrkdwn" else html.escape(text["text"])


def _marked(text: str) -> str:
    """Slack's markup as HTML, in Slack's order: code first, and its content is not interpreted."""
    out: list[str] = []
    for number, piece in enumerate(re.split(r"```\n?(.*?)\n?```", text, flags=re.DOTALL)):
        if number % 2:
            out.append(f"<pre>{_escaped(piece)}</pre>")
            continue
        for inner, part in enumerate(re.split(r"`([^`\n]+)`", piece)):
            out.append(f"<code>{_escaped(part)}</code>" if inner % 2 else _bold(_escaped(part)))
    return "".join(out)


def _bold(text: str) -> str:
    return re.sub(r"(?<!\w)\*([^*\n]+)\*(?!\w)", r"<b>\1</b>", text)


def _escaped(text: str) -> str:
    """Decodes the entities that Slack decodes, and escapes the rest for HTML."""
    return html.escape(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def screenshot(payload: dict[str, Any], picture: Path, height: int = HEIGHT) -> None:
    """A PNG of `payload`. Raises ChromiumError if there is no Chromium."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="slack-picture-") as folder:
        written = Path(folder) / "message.html"
        written.write_text(page(payload), encoding="utf-8")
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
        ]
        shot = [f"--window-size={WIDTH},{height}", f"--screenshot={picture}", written.as_uri()]
        subprocess.run([find_chromium(), *flags, *shot], check=True, capture_output=True, timeout=60)


def main() -> int:
    parser = argparse.ArgumentParser(description="Render a Slack payload as it looks in Slack.")
    parser.add_argument("payload", nargs="?", type=Path, default=PAYLOAD, help="a JSON file (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=PICTURE, help="the PNG to write (default: %(default)s)")
    parser.add_argument("--html", action="store_true", help="print the page instead of writing a PNG")
    options = parser.parse_args()
    try:
        payload = json.loads(options.payload.read_text(encoding="utf-8"))
        if options.html:
            print(page(payload))
        else:
            screenshot(payload, options.output)
            print(f"{options.output}: {options.output.stat().st_size // 1000} kB")
    except (OSError, ValueError, ChromiumError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
