"""Decisions about reviews: patches, positions of findings, coverage."""
