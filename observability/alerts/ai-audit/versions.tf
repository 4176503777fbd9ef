# Versions of Terraform and of PagerDuty's provider. Tokens come from the environment: PAGERDUTY_TOKEN for the provider,
# PAGERDUTY_USER_TOKEN of a person besides, which the Slack connection asks for.

terraform {
  required_version = ">= 1.5.0, < 2.0.0"

  required_providers {
    pagerduty = {
      source  = "PagerDuty/pagerduty"
      version = ">= 3.30.0, < 4.0.0"
    }
  }
}

provider "pagerduty" {}
