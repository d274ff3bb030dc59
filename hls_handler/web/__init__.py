"""HTTP: the webhook receiver, `/health` and `/stats`."""
