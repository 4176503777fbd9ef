"""PagerDuty, Slack, JIRA and webhooks on 127.0.0.1, as strict as the real ones, and what they were told read back."""
