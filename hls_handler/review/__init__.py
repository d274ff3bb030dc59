"""Parses patches into numbered lines and anchors findings to those lines."""
