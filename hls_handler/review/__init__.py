"""Patches as numbered lines, and findings led to the lines that they are about."""
