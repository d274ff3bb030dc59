"""Conversations about events without a handler of their own."""

from __future__ import annotations

from hls_handler.analysis import GenericAnalysis

ANALYSIS = GenericAnalysis(worth_saying=True, summary="Pushed.", details="")
OCTO = "https://github.com/octo/hello"
