"""Jobs as in the service: an id is used once, and a job keeps its requested configuration."""

from contextvars import ContextVar
from typing import Any

from bqemulator.api.routes import jobs, upload
from bqemulator.catalog.models import JobMeta
from bqemulator.domain.errors import AlreadyExistsError

_ASKED_ID = "askedJobId"


def fix() -> None:
    """Patches the routes of jobs and uploads."""
    for name in (
        "_handle_query_job",
        "_handle_load_job_with_async_envelope",
        "execute_copy_job",
        "execute_extract_job",
    ):
        setattr(jobs, name, _once(getattr(jobs, name)))
    upload._load_configuration_from_envelope = _with_asked_id(upload._load_configuration_from_envelope)
    # The Python client sends this type for a whole file in one request.
    upload._PERMITTED_MEDIA_CONTENT_TYPES += ("*/*",)
    upload._run_load = _run_upload
    upload._new_job_id = _asked_job_id


def _refuse_duplicate(project_id: str, job_id: str, ctx: Any) -> None:
    if ctx.catalog.get_job(project_id, job_id) is not None:
        raise AlreadyExistsError(f"Already Exists: Job {project_id}:US.{job_id}")


def _once(handle: Any) -> Any:
    """`handle`, which refuses an id that is in use. The job it returns keeps the requested configuration."""

    async def handle_once(project_id: str, job_id: str, config: dict[str, Any], *rest: Any, **named: Any) -> Any:
        ctx = named.get("ctx") or rest[0]
        _refuse_duplicate(project_id, job_id, ctx)
        asked = {kind: dict(part) if isinstance(part, dict) else part for kind, part in config.items()}
        done = await handle(project_id, job_id, config, *rest, **named)
        return done.model_copy(update={"configuration": _merged(asked, done)}) if isinstance(done, JobMeta) else done

    return handle_once


def _merged(asked: dict[str, Any], job: JobMeta) -> dict[str, Any]:
    """Merges the emulator's configuration of a job into the caller's, whose labels and priority it would lose."""
    merged = dict(asked)
    for kind, part in (job.configuration or {}).items():
        mine = merged.get(kind)
        merged[kind] = {**part, **mine} if isinstance(part, dict) and isinstance(mine, dict) else part
    return merged


def _with_asked_id(read: Any) -> Any:
    """An upload's configuration with the requested job id, which the emulator ignores."""

    def read_with_id(envelope: dict[str, Any]) -> dict[str, Any]:
        job_id = (envelope.get("jobReference") or {}).get("jobId")
        return {**read(envelope), **({_ASKED_ID: job_id} if job_id else {})}

    return read_with_id


_run_load = upload._run_load
_new_job_id = upload._new_job_id
_asked: ContextVar[str | None] = ContextVar("asked", default=None)


async def _run_upload(*, configuration: dict[str, Any], project_id: str, ctx: Any, **named: Any) -> Any:
    job_id = configuration.get(_ASKED_ID)
    if job_id:
        _refuse_duplicate(project_id, job_id, ctx)
    _asked.set(job_id)
    known = {kind: part for kind, part in configuration.items() if kind != _ASKED_ID}
    return await _run_load(configuration=known, project_id=project_id, ctx=ctx, **named)


def _asked_job_id() -> str:
    return _asked.get() or _new_job_id()
