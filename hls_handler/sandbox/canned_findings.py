"""Findings of a canned review: each `Pattern` is searched in the changed lines, and a match becomes
a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hls_handler.review.patches import Line
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
    repair: tuple[str, str] | None = None  # regex and replacement for a suggestion
    side: Literal["LEFT", "RIGHT"] = "RIGHT"


PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        r"""f["'].*\b(SELECT|INSERT|UPDATE|DELETE)\b.*\{""",
        "security",
        "critical",
        0.95,
        "SQL built from a value",
        "The value becomes part of the statement, so whoever chooses it can run SQL of their own."
        " Pass it as a parameter of `execute` instead.",
    ),
    Pattern(
        r"\.innerHTML\s*=",
        "security",
        "high",
        0.9,
        "Text is inserted as HTML",
        "What the server or the user says is parsed as HTML here, so a script in it would run."
        " `textContent` shows the same text safely.",
        repair=(r"\.innerHTML\b", ".textContent"),
    ),
    Pattern(
        r"if .*(is_blocked|is_admin|permission|authori[sz]ed|allowed)",
        "security",
        "critical",
        0.75,
        "A check of permissions is gone",
        "The removed lines refused some accounts. Nothing in the new code does.",
        side="LEFT",
    ),
    Pattern(
        r"range\(len\(\w+\) - 1\)",
        "bugs",
        "high",
        0.85,
        "The last element is never looked at",
        "`range(len(x) - 1)` ends one too early. Iterate over the list itself.",
        repair=(r"range\(len\((\w+)\) - 1\)", r"range(len(\1))"),
    ),
    Pattern(
        r"def .*=\s*(\[\]|\{\})",
        "bugs",
        "medium",
        0.9,
        "Mutable default value",
        "The default is made once and shared by all calls; what one call adds, the next one sees.",
        repair=(r"=\s*(\[\]|\{\})", "=()"),
    ),
    Pattern(
        r"datetime\.(now|utcnow)\(\)",
        "bugs",
        "medium",
        0.7,
        "Time without a zone",
        "Comparing this with a time that has a zone raises `TypeError`. Use `datetime.now(UTC)`.",
        repair=(r"datetime\.(now|utcnow)\(\)", "datetime.now(UTC)"),
    ),
    Pattern(
        r"^\s{8,}.*\.(execute|query|fetch\w*|get)\(.*(SELECT|WHERE|http)",
        "performance",
        "medium",
        0.8,
        "One query for each turn of the loop",
        "A cart of fifty lines makes fifty queries. Fetch all rows before the loop, with one"
        " query.",
    ),
)


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
    for pattern in PATTERNS:
        lines = patch.removed if pattern.side == "LEFT" else patch.added
        line = next((line for line in lines if re.search(pattern.regex, line.text)), None)
        if line is not None and line.text.strip():
            yield _finding(patch.path, line, pattern)


def _finding(path: str, line: Line, pattern: Pattern) -> dict[str, Any]:
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
        "suggestion": re.sub(*pattern.repair, line.text) if pattern.repair else None,
        "continues": None,
        "rests_on": "",
        "look_up": [],
    }
