"""Findings of a canned review: each `Pattern` is searched in the changed lines, and a match becomes
a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from hls_handler.review.patches import Line
from hls_handler.sandbox.derived import load_canned
from hls_handler.sandbox.reading import PatchOfFile, Reading

MAX_FINDINGS = 12
"""Maximum number of findings in one review. A pattern yields at most one finding per file."""


@dataclass(frozen=True, slots=True)
class Pattern:
    regex: str  # searched in the text of a changed line
    category: Literal["bugs", "security", "performance", "style"]
    severity: Literal["critical", "high", "medium", "low"]
    confidence: float
    title: str
    body: str
    repair: Sequence[str] = ()  # regex and replacement for a suggestion
    side: Literal["LEFT", "RIGHT"] = "RIGHT"


@cache
def _patterns() -> tuple[Pattern, ...]:
    return tuple(Pattern(**pattern) for pattern in load_canned()["findings"])


def find_all(patches: Sequence[PatchOfFile]) -> list[dict[str, Any]]:
    """Return findings as JSON values of `analysis.Finding`. Each finding quotes a line of a
    patch.
    """
    found = [finding for patch in patches for finding in _find(patch)]
    ranks = ("critical", "high", "medium", "low")
    return sorted(found, key=lambda finding: ranks.index(finding["severity"]))[:MAX_FINDINGS]


def give_verdicts(reading: Reading) -> list[dict[str, Any]]:
    """Return a verdict for each listed finding: present where its line is shown, else gone."""
    return [_verdict(number, quote, reading.patches) for number, quote in reading.earlier]


def _verdict(number: int, quote: str, patches: Sequence[PatchOfFile]) -> dict[str, Any]:
    shown = (
        (patch.path, line)
        for patch in patches
        for line in patch.lines
        if line.text.strip() == quote.strip()
    )
    path, line = next(shown, (None, None))
    return {
        "number": number,
        "path": path,
        "line": line.number if line else None,
        "quote": line.text if line else "",
        "verdict": "present" if line else "gone",
        "severity": None,
    }


def _find(patch: PatchOfFile) -> Iterator[dict[str, Any]]:
    for pattern in _patterns():
        lines = patch.removed if pattern.side == "LEFT" else patch.added
        line = next((line for line in lines if re.search(pattern.regex, line.text)), None)
        if line is not None and line.text.strip():
            yield _finding(patch.path, line, pattern)


def _finding(path: str, line: Line, pattern: Pattern) -> dict[str, Any]:
    suggestion = None
    if pattern.repair:
        regex, replacement = pattern.repair
        suggestion = re.sub(regex, replacement, line.text)
    return {
        "path": path,
        "side": pattern.side,
        "start_line": None,
        "line": line.number,
        "quote": line.text,
        "severity": pattern.severity,
        "category": pattern.category,
        "confidence": pattern.confidence,
        "title": pattern.title,
        "body": pattern.body,
        "suggestion": suggestion,
        "continues": None,
        "rests_on": "",
        "look_up": [],
    }
