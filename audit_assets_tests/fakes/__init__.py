"""PagerDuty and Slack played on 127.0.0.1, as strict as the real ones, and what they were told read from a log."""
