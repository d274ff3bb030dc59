"""Backtests: the answers of Claude to closed issues, compared with the labels that people left."""
