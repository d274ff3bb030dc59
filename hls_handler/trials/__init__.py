"""Trying a prompt with an event and its facts: stored ones, and those that are read now."""
