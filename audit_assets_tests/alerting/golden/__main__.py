"""Regenerates the golden files: `python -m audit_assets_tests.alerting.golden`."""

from audit_assets_tests.alerting.golden import FOLDER, payloads, written


def main() -> None:
    made = {FOLDER / f"{name}.json": written(payload) for name, payload in payloads().items()}
    for path in FOLDER.glob("*/*.json"):
        if path not in made:
            path.unlink()
            print(f"removed {path.parent.name}/{path.name}")
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.parent.name}/{path.name}")


if __name__ == "__main__":
    main()
