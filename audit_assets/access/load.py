"""Reads the files of observability/access into one Policy. Every error names file, line, field and fix."""

from collections.abc import Iterator
from pathlib import Path

from audit_assets.access.cross_checks import Catalog, Violation, violations
from audit_assets.access.model import Columns, Dashboards, Grants, Groups, Policy, RowPolicies, Views
from audit_assets.config.validation import InvalidFileError, M, Problem, dotted, parse_model
from audit_assets.config.yaml_files import Document, read_document, unread_files

FILES = ("groups", "grants", "views", "rows", "columns", "dashboards")
PLACEHOLDERS = ("@example.com", "@example-project.iam.gserviceaccount.com")


class AccessFileError(Exception):
    """Invalid access files. One problem per line: file, line, field and fix."""


def load_policy(folder: Path, catalog: Catalog) -> Policy:
    """The policy of `folder`, checked against the tables of `catalog`. Raises AccessFileError."""
    documents: dict[str, Document] = {}
    policy = Policy(
        groups=_read(folder, "groups", Groups, documents),
        grants=_read(folder, "grants", Grants, documents),
        views=_read(folder, "views", Views, documents),
        rows=_read(folder, "rows", RowPolicies, documents),
        columns=_read(folder, "columns", Columns, documents),
        dashboards=_read(folder, "dashboards", Dashboards, documents),
    )
    unread = unread_files(folder, [f"{name}.yaml" for name in FILES])
    if unread:
        raise AccessFileError("\n".join(unread))
    problems = [_problem(documents, violation) for violation in violations(policy, catalog)]
    if problems:
        ordered = sorted(problems, key=lambda problem: (FILES.index(Path(problem.file).stem), problem.line))
        raise AccessFileError("\n".join(map(str, ordered)))
    return policy


def placeholders(folder: Path, policy: Policy) -> Iterator[Problem]:
    """Placeholder principals, to be replaced by real ones: they can be reviewed, but not applied."""
    document = read_document((folder / "groups.yaml").read_bytes())
    for kind, groups in (("groups", policy.groups.groups), ("writers", policy.groups.writers)):
        for name, group in groups.items():
            for number, principal in enumerate(group.principals):
                if principal.endswith(PLACEHOLDERS):
                    place = (kind, name, "principals", number)
                    message = f"{principal} is a placeholder; replace it by your own address"
                    yield Problem("groups.yaml", document.line(place), dotted(place), message)


def _problem(documents: dict[str, Document], violation: Violation) -> Problem:
    return Problem(
        f"{violation.file}.yaml",
        documents[violation.file].line(violation.place),
        dotted(violation.place),
        violation.message,
    )


def _read(folder: Path, name: str, model: type[M], documents: dict[str, Document]) -> M:
    path = folder / f"{name}.yaml"
    try:
        parsed, documents[name] = parse_model(path.name, path.read_bytes(), model)
    except OSError as error:
        raise AccessFileError(f"{path}: {error.strerror}; the folder holds {', '.join(FILES)}, each .yaml") from None
    except InvalidFileError as error:
        raise AccessFileError(str(error)) from None
    return parsed
