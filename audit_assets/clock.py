"""The pipeline's clock: the machine's, or one fixed instant for demos and tests."""

from dataclasses import dataclass
from datetime import UTC, date, datetime


@dataclass(frozen=True)
class Clock:
    """Returns the current time (UTC) when called.

    With `fixed_at` it always returns that instant, and replaces the source's clock too: a run over the same rows then
    gives the same figures whenever it starts. Raises ValueError if `fixed_at` has no time zone.
    """

    fixed_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.fixed_at is not None and self.fixed_at.utcoffset() is None:
            raise ValueError(f"{self.fixed_at.isoformat()} has no time zone: give it one, UTC for instance")

    def __call__(self) -> datetime:
        return datetime.now(UTC) if self.fixed_at is None else self.fixed_at.astimezone(UTC)

    def today(self) -> date:
        """The current UTC day."""
        return self().date()


def fixed_clock(text: str | None) -> Clock:
    """A clock fixed at an ISO 8601 instant such as 2026-11-25T08:06:00Z, or the machine's clock if `text` is None.

    Raises ValueError if the text is not an instant or has no time zone.
    """
    return Clock() if text is None else Clock(datetime.fromisoformat(text))
