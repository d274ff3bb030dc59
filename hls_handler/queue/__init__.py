"""The delivery queue: accepting, claiming, leases, checkpoints, locks, rate limits, pauses,
wake-up.
"""
