"""Slack, PagerDuty, Jira, webhooks and the console: one client and one message format each, over one HTTP client."""
