# The PagerDuty configuration of the alerts: service, escalation policy, integration key, handling of drills.
# The names and the order of the escalation are read from ../routing.yaml, which the alerts use as well.

locals {
  routing = yamldecode(file("${path.module}/../routing.yaml"))
  paging  = [for route in values(local.routing.routes) : route.pagerduty if can(route.pagerduty.service)]
  # One service: a second one in routing.yaml needs a key of its own, and is refused below.
  service    = local.paging[0].service
  escalation = local.paging[0].escalation
}

resource "pagerduty_escalation_policy" "ai_audit" {
  name        = local.service
  description = "AI audit alerts: ${join(", then ", local.escalation)}."
  num_loops   = 2

  dynamic "rule" {
    for_each = local.escalation

    content {
      escalation_delay_in_minutes = var.escalation_delay_minutes

      target {
        type = var.escalation_targets[rule.value].type
        id   = var.escalation_targets[rule.value].id
      }
    }
  }

  lifecycle {
    precondition {
      condition     = length(distinct([for paged in local.paging : paged.service])) == 1
      error_message = "routing.yaml names more than one PagerDuty service; this module sets up one."
    }

    precondition {
      condition     = alltrue([for name in local.escalation : contains(keys(var.escalation_targets), name)])
      error_message = "escalation_targets lacks a name of routing.yaml's escalation; add its schedule or user."
    }
  }
}

resource "pagerduty_service" "ai_audit" {
  name              = local.service
  description       = "Spikes, drops, errors and silence of the AI copilot's audit log."
  escalation_policy = pagerduty_escalation_policy.ai_audit.id
  alert_creation    = "create_alerts_and_incidents"

  # An incident closes when its episode does. A timeout would close it unseen.
  auto_resolve_timeout    = "null"
  acknowledgement_timeout = 3600

  # critical and error wake someone and escalate; warning and info do not.
  incident_urgency_rule {
    type    = "constant"
    urgency = "severity_based"
  }
}

resource "pagerduty_service_integration" "events" {
  name    = "AI Audit Observability"
  type    = "events_api_v2_inbound_integration"
  service = pagerduty_service.ai_audit.id
}

resource "pagerduty_event_orchestration_service" "ai_audit" {
  service                                = pagerduty_service.ai_audit.id
  enable_event_orchestration_for_service = true

  set {
    id = "start"

    # A drill shows that an event arrives, and wakes nobody. Its summary begins with [DRILL]; the dots stand for the
    # brackets, which would need escaping twice.
    rule {
      label = "Drills are suppressed"

      condition {
        expression = "event.group matches 'sim'"
      }

      condition {
        expression = "event.summary matches regex '^.DRILL. '"
      }

      actions {
        suppress = true
      }
    }
  }

  catch_all {
    actions {}
  }
}

# PagerDuty's own Slack messages about an incident, with buttons to acknowledge and resolve.
resource "pagerduty_slack_connection" "pages" {
  count = var.slack_workspace_id != "" && var.slack_pages_channel_id != "" ? 1 : 0

  source_id         = pagerduty_service.ai_audit.id
  source_type       = "service_reference"
  workspace_id      = var.slack_workspace_id
  channel_id        = var.slack_pages_channel_id
  notification_type = "responder"

  config {
    events = [
      "incident.triggered",
      "incident.acknowledged",
      "incident.escalated",
      "incident.reassigned",
      "incident.resolved",
      "incident.reopened",
    ]
    urgency = "high"
  }
}
