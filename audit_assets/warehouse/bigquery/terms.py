"""What people decide about the tables in BigQuery: the frozen form of `bigquery:` in observability/sync.yaml."""

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# Google's rule for labels: lower case, at most 63 characters.
Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{0,63}$")]


class BigQueryTerms(BaseModel):
    """Labels of every table and job; how long raw rows are kept (None: for ever), and staging that a killed sync left;
    the most bytes a job may bill (None: no limit); how often a micro-batch may run, so that quotas hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: dict[Label, Label] = Field(default_factory=lambda: {"system": "ai-audit"})
    keep_raw: timedelta | None = None
    keep_staging: timedelta = timedelta(hours=6)
    maximum_bytes_billed: int | None = Field(default=None, ge=10_485_760)  # ten MiB, the least that is billed
    every: timedelta = timedelta(minutes=2)
