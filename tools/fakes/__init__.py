"""Fake PagerDuty, Slack, Jira and webhooks on 127.0.0.1, as strict as the real ones; what they received can be read."""
