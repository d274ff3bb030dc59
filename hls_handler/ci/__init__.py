"""Continuous integration: excerpts that explain a failed job, and classification of the failure as new or known."""
