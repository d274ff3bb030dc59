"""HTTP: receive webhooks, tell how the service is, count what it did."""
