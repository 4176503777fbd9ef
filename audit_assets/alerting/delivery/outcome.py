"""The outcome of one delivery attempt, as the outbox handles it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

# sent       accepted; `reference` identifies it at the provider
# retry      not accepted, may be sent again; after `retry_after` if the provider sets a delay
# uncertain  may have been accepted (timeout, dropped connection): look for it before sending again
# refused    the provider will never accept this content; other content may be accepted
# parked     nothing will be accepted until a person fixes a token, a key or a channel
# missing    the message, incident or ticket that it changes does not exist: deleted, or never sent
OutcomeKind = Literal["sent", "retry", "uncertain", "refused", "parked", "missing"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt. `detail` is the provider's response or the error, short and without secrets."""

    kind: OutcomeKind
    detail: str
    reference: str | None = None
    retry_after: timedelta | None = None
