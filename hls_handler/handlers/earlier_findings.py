"""Compares the findings that a comment on a pull request has shown with the present patches.

Each is still open, fixed, or gone with its lines.

Findings are matched by file and quoted line, because Claude sees no earlier reply. A finding stays open while its
quoted line is in the patch, also if Claude does not repeat it: replies about the same text differ, and an author must
not be able to clear a finding by changing another line. A person decides about a finding that stays open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import TypeAdapter

from hls_handler.analysis import Finding, Severity
from hls_handler.handlers.handler import parse_comment_state
from hls_handler.review import Line, Patch, Side, normalize_line

NEARBY_LINES = 3  # lines above and below the quoted line that belong to its place
MIN_CHARACTERS = 4  # shorter lines, such as a bracket, are everywhere and show no place
MAX_FINDINGS = 200  # findings that are stored for one pull request

FindingState = Literal["open", "fixed", "gone"]
"""Open: the quoted line is in the patch. Fixed: it is not, but lines around it are. Gone: none of them is."""


@dataclass(frozen=True, slots=True)
class EarlierFinding:
    path: str
    side: Side
    quote: str  # the quoted line, as `normalize_line` returns it
    nearby: tuple[str, ...]  # the lines around it, likewise
    severity: Severity
    title: str
    state: FindingState


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """An earlier finding that is still open, but that the newest reply does not repeat."""

    path: str
    side: Side
    line: int | None  # None if the patch that was read does not show it
    severity: Severity
    title: str


_FINDINGS = TypeAdapter(tuple[EarlierFinding, ...])


def parse_earlier(state: str | None) -> tuple[EarlierFinding, ...]:
    """Return the findings that `EnsureComment.state` contains; () if there are none."""
    return parse_comment_state(_FINDINGS, state)


def dump_earlier(findings: Sequence[EarlierFinding]) -> str | None:
    return _FINDINGS.dump_json(tuple(findings[:MAX_FINDINGS])).decode() if findings else None


def follow_up(
    earlier: Iterable[EarlierFinding], patches: Mapping[str, Patch], *, unread: Collection[str]
) -> tuple[EarlierFinding, ...]:
    """Return the earlier findings with their present state.

    `patches` are the patches that Claude was shown, and `unread` the paths of files that it was not shown completely:
    a finding there keeps its state unless its line is shown.
    """
    return tuple(
        replace(finding, state=_find_state(finding, patches.get(finding.path), finding.path in unread))
        for finding in earlier
    )


def remember(findings: Iterable[Finding], patches: Mapping[str, Patch]) -> tuple[EarlierFinding, ...]:
    """Return the findings that the comment shows, as later events need them."""
    remembered: list[EarlierFinding] = []
    for finding in findings:
        lines, index = _find_line(finding, patches)
        around = [*lines[max(index - NEARBY_LINES, 0) : index], *lines[index + 1 : index + 1 + NEARBY_LINES]]
        nearby = tuple(text for line in around if len(text := normalize_line(line.text)) >= MIN_CHARACTERS)
        quote = normalize_line(lines[index].text) if lines else normalize_line(finding.quote)
        place = (finding.path, finding.side, quote, nearby)
        remembered.append(EarlierFinding(*place, finding.severity, finding.title, "open"))
    return tuple(remembered)


def without_repeated(earlier: Iterable[EarlierFinding], shown: Iterable[EarlierFinding]) -> tuple[EarlierFinding, ...]:
    """Return the earlier findings that are not among those that the comment shows now."""
    keys = {(finding.path, finding.side, finding.quote) for finding in shown}
    return tuple(finding for finding in earlier if (finding.path, finding.side, finding.quote) not in keys)


def locate_open(earlier: Iterable[EarlierFinding], patches: Mapping[str, Patch]) -> tuple[OpenFinding, ...]:
    """Return the open findings of `earlier`, with the line on which their quote is now."""
    located: list[OpenFinding] = []
    for finding in earlier:
        if finding.state == "open":
            found = _find_quote(finding, patches.get(finding.path))
            line = found.number if found else None
            located.append(OpenFinding(finding.path, finding.side, line, finding.severity, finding.title))
    return tuple(located)


def _find_state(finding: EarlierFinding, patch: Patch | None, is_unread: bool) -> FindingState:
    if _find_quote(finding, patch) is not None:
        return "open"
    if finding.state != "open" or is_unread:
        return finding.state
    present = {normalize_line(line.text) for line in _lines_of(patch)}
    return "fixed" if present.intersection(finding.nearby) else "gone"


def _find_quote(finding: EarlierFinding, patch: Patch | None) -> Line | None:
    lines = (line for line in _lines_of(patch) if line.side == finding.side)
    return next((line for line in lines if normalize_line(line.text) == finding.quote), None)


def _find_line(finding: Finding, patches: Mapping[str, Patch]) -> tuple[Sequence[Line], int]:
    """Return the lines of the finding's hunk and the index of its line; ((), 0) if the patch does not have it."""
    patch = patches.get(finding.path)
    for hunk in patch.hunks if patch else ():
        for index, line in enumerate(hunk.lines):
            if (line.side, line.number) == (finding.side, finding.line):
                return hunk.lines, index
    return (), 0


def _lines_of(patch: Patch | None) -> list[Line]:
    return [line for hunk in patch.hunks for line in hunk.lines] if patch else []
