"""Kills at every point: a service that is killed anywhere leaves what an undisturbed one leaves."""
