"""The files of observability/access to one Policy: every error names the file, the line, the field and the mend."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from audit_assets.access.misfits import Catalog, Misfit, misfits
from audit_assets.access.model import Columns, Dashboards, Grants, Groups, Policy, RowPolicies, Views
from audit_assets.rules.complaints import complaints, dotted
from audit_assets.rules.document import Document, DocumentError, read_document
from audit_assets.rules.model import Problem

FILES = ("groups", "grants", "views", "rows", "columns", "dashboards")
PLACEHOLDERS = ("@example.com", "@example-project.iam.gserviceaccount.com")

M = TypeVar("M", bound=BaseModel)


class AccessFileError(Exception):
    """Access that cannot be given as written. One problem a line: file, line, field and mend."""


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
    problems = [_problem(documents, misfit) for misfit in misfits(policy, catalog)]
    if problems:
        ordered = sorted(problems, key=lambda problem: (FILES.index(Path(problem.file).stem), problem.line))
        raise AccessFileError("\n".join(map(str, ordered)))
    return policy


def placeholders(folder: Path, policy: Policy) -> Iterator[Problem]:
    """Principals that stand for those of a real organisation: fit to be reviewed, not to be applied."""
    document = read_document((folder / "groups.yaml").read_bytes())
    for kind, groups in (("groups", policy.groups.groups), ("writers", policy.groups.writers)):
        for name, group in groups.items():
            for number, principal in enumerate(group.principals):
                if principal.endswith(PLACEHOLDERS):
                    place = (kind, name, "principals", number)
                    said = f"{principal} stands for yours; write the address of your own"
                    yield Problem("groups.yaml", document.line(place), dotted(place), said)


def _problem(documents: dict[str, Document], misfit: Misfit) -> Problem:
    return Problem(
        f"{misfit.file}.yaml", documents[misfit.file].line(misfit.place), dotted(misfit.place), misfit.message
    )


def _read(folder: Path, name: str, model: type[M], documents: dict[str, Document]) -> M:
    path = folder / f"{name}.yaml"
    try:
        document = documents[name] = read_document(path.read_bytes())
        return model.model_validate(document.values)
    except OSError as error:
        raise AccessFileError(f"{path}: {error.strerror}; the folder holds {', '.join(FILES)}, each .yaml") from None
    except DocumentError as error:
        raise AccessFileError(str(Problem(path.name, error.line, error.field, error.message))) from None
    except ValidationError as error:
        raise AccessFileError("\n".join(map(str, complaints(path.name, documents[name], model, error)))) from None
