"""Threads besides the workers: watcher, probe, retention and catch-up, with their health checks."""
