# What the alerts need to know of the service.

output "service_id" {
  description = "The id of the service, for a link to a new incident."
  value       = pagerduty_service.ai_audit.id
}

output "service_url" {
  description = "The service's page, for docs/ai-audit-observability.md."
  value       = pagerduty_service.ai_audit.html_url
}

output "routing_key" {
  description = "The value of PAGERDUTY_ROUTING_KEY: terraform output -raw routing_key."
  value       = pagerduty_service_integration.events.integration_key
  sensitive   = true
}
