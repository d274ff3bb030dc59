"""Batches: one file for each kind, with its subjects and its result."""
