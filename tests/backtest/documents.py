"""The result of a backtest, as the console reads it."""

from __future__ import annotations

from hls_handler.reports.backtests import BacktestDocument, FieldDocument, ShareDocument


def share(part: int, of: int, low: float, high: float) -> ShareDocument:
    return {"part": part, "of": of, "value": part / of, "low": low, "high": high}


def make_document(label: str = "bug") -> BacktestDocument:
    right = share(31, 40, 0.61, 0.89)
    field: FieldDocument = {
        "field": "kind",
        "issues": 40,
        "is_enough": True,
        "labels": [{"label": label, "precision": right, "recall": right}],
        "confusion": [{"left": label, "given": None, "issues": 9}],
        "choice": {
            "right": right,
            "without_label": share(0, 40, 0, 0.088),
            "calibration": [{"low": 0.9, "high": 1.0, "stated": 0.94, "right": right}],
        },
    }
    return {
        "repository": "octo/widgets",
        "ended_at": "2026-11-29T12:00:00+00:00",
        "read": 50,
        "skipped": {"its first text was deleted from the history": 3},
        "planned": 40,
        "labelled": 40,
        "cost_usd": 0.02,
        "sides": [
            {
                "title": "issues/analyze@3b4b87",
                "asked": 40,
                "failed": {"Claude refused": 1},
                "calls": 41,
                "cost_usd": 0.02,
                "usd_per_issue": 0.0005,
                "fields": [field],
                "front_matter": "labels:\n  kind:\n    bug: 'type: bug'\n",
            }
        ],
        "decision": {
            "conclusion": "promote",
            "test": "planned size, after 40 issues",
            "planned": 40,
            "compared": 40,
            "missing": 0,
            "fixed": 12,
            "broken": 1,
            "current": right,
            "candidate": right,
        },
        "stopped": None,
    }
