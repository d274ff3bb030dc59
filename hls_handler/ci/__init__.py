"""Continuous integration: excerpts of a job's log that explain why it failed."""
