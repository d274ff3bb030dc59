"""The delivery queue: accept, claim, checkpoints, locks, rate limits, leases, wake-up, retention."""
