"""From the findings of a rule to a message: the ledger, what is queued, its delivery, and one client per channel."""
