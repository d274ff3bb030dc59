"""HLS: GitHub events in; one useful, quiet, trustworthy answer by Claude out."""

__version__ = "0.2.0"
