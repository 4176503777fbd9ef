# What differs from one PagerDuty account to the next. No secret is among it.

variable "escalation_targets" {
  description = "Who is behind each name of routing.yaml's escalation: the id of a schedule or of a user."
  type = map(object({
    type = string
    id   = string
  }))

  validation {
    condition = alltrue([
      for target in values(var.escalation_targets) :
      contains(["schedule_reference", "user_reference"], target.type) && length(target.id) > 0
    ])
    error_message = "Each target is a schedule_reference or a user_reference, with the id from its address in PagerDuty."
  }
}

variable "escalation_delay_minutes" {
  description = "Minutes before an incident that nobody acknowledged goes to the next in line."
  type        = number
  default     = 15
}

variable "slack_workspace_id" {
  description = "The Slack workspace that the PagerDuty account is connected to (T…). Empty: no Slack connection."
  type        = string
  default     = ""
}

variable "slack_pages_channel_id" {
  description = "The channel PagerDuty posts to (C…). Not the channel of our own messages: each page would stand there twice."
  type        = string
  default     = ""
}
