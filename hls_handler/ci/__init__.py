"""Continuous integration: excerpts of a job's log, which explain why the job failed."""
