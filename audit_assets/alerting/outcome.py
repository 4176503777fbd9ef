"""What a provider made of one delivery, in the words the outbox acts on."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

# sent       it is there; `reference` finds it again
# retry      it was not taken and may be sent again, after `retry_after` where the provider names a time
# uncertain  it may have been taken (a timeout, a connection that dropped): look before it is sent again
# refused    this content will never be taken; another may
# parked     nothing will be taken before a person mends a token, a key or a channel
OutcomeKind = Literal["sent", "retry", "uncertain", "refused", "parked"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt. `said` is the provider's own word for it, short and without a secret."""

    kind: OutcomeKind
    said: str
    reference: str | None = None
    retry_after: timedelta | None = None
