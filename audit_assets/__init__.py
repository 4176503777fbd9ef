"""AI Audit Observability: what an AI copilot does, from the audit log to the page that wakes someone."""
