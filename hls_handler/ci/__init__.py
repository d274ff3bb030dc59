"""Continuous integration: the log of a failed job, cut to what explains the failure, and whether it is news."""
