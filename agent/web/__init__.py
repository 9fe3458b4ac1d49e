"""What the agent serves by HTTP: webhooks of a service."""
