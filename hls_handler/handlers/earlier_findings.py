"""Compares the findings that a comment on a pull request has shown with the present patches.

Each is still open, fixed, or gone with its lines.

Findings are matched by file and quoted line, because Claude sees no earlier reply. If a file has the line several
times, the lines around it decide. A finding stays open while its quoted line is in the patch, also if Claude does not
repeat it: replies about the same text differ, and an author must not be able to clear a finding by changing another
line or by moving the code to another file. A person decides about a finding that stays open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
    current = [_follow_move(finding, patches, unread) for finding in earlier]
    return tuple(
        replace(finding, state=_find_state(finding, line, patches.get(finding.path), finding.path in unread))
        for finding, line in zip(current, _find_lines(current, patches), strict=True)
    )


def remember(findings: Iterable[Finding], patches: Mapping[str, Patch]) -> tuple[EarlierFinding, ...]:
    """Return the findings that the comment shows, as later events need them."""
    remembered: list[EarlierFinding] = []
    for finding in findings:
        lines, index = _find_line(finding, patches)
        nearby = _find_nearby(lines, index)
        quote = normalize_line(lines[index].text) if lines else normalize_line(finding.quote)
        place = (finding.path, finding.side, quote, nearby)
        remembered.append(EarlierFinding(*place, finding.severity, finding.title, "open"))
    return tuple(remembered)


def without_repeated(earlier: Iterable[EarlierFinding], shown: Iterable[EarlierFinding]) -> tuple[EarlierFinding, ...]:
    """Return the earlier findings that are not among those that the comment shows now, each of which repeats one."""
    others, repeating = list(earlier), list(shown)
    for key in (_place_of, _line_of):
        for finding in tuple(others):
            same = next((one for one in repeating if key(one) == key(finding)), None)
            if same is not None:
                others.remove(finding)
                repeating.remove(same)
    return tuple(others)


def locate_open(earlier: Iterable[EarlierFinding], patches: Mapping[str, Patch]) -> tuple[OpenFinding, ...]:
    """Return the open findings of `earlier`, with the line on which their quote is now."""
    still_open = [finding for finding in earlier if finding.state == "open"]
    return tuple(
        OpenFinding(finding.path, finding.side, line.number if line else None, finding.severity, finding.title)
        for finding, line in zip(still_open, _find_lines(still_open, patches), strict=True)
    )


def _line_of(finding: EarlierFinding) -> tuple[str, Side, str]:
    return finding.path, finding.side, finding.quote


def _place_of(finding: EarlierFinding) -> tuple[object, ...]:
    return _line_of(finding), finding.nearby


def _follow_move(finding: EarlierFinding, patches: Mapping[str, Patch], unread: Collection[str]) -> EarlierFinding:
    """Return the finding with the path of the file to which its line was moved together with lines around it."""
    is_settled = finding.state != "open" or finding.path in unread or len(finding.quote) < MIN_CHARACTERS
    if is_settled or not _is_place_gone(finding, patches.get(finding.path)):
        return finding
    for path, patch in patches.items():
        shares = [share for _, share in _lines_with_quote(finding, patch)]
        if shares and (max(shares) > 0 or not finding.nearby):
            return replace(finding, path=path)
    return finding


def _is_place_gone(finding: EarlierFinding, patch: Patch | None) -> bool:
    present = {normalize_line(line.text) for line in _lines_of(patch)}
    return not present.intersection((finding.quote, *finding.nearby))


def _find_state(finding: EarlierFinding, line: Line | None, patch: Patch | None, is_unread: bool) -> FindingState:
    if line is not None:
        return "open"
    if finding.state != "open" or is_unread:
        return finding.state
    return "gone" if _is_place_gone(finding, patch) else "fixed"


def _find_lines(findings: Sequence[EarlierFinding], patches: Mapping[str, Patch]) -> Sequence[Line | None]:
    """Return the line of each finding's quote. Each line belongs to one finding, whose nearby lines it has."""
    candidates = [
        (share, index, line)
        for index, finding in enumerate(findings)
        for line, share in _lines_with_quote(finding, patches.get(finding.path))
    ]
    found: dict[int, Line] = {}
    taken: set[tuple[str, Side, int]] = set()
    for _, index, line in sorted(candidates, key=lambda candidate: -candidate[0]):
        place = (findings[index].path, line.side, line.number)
        if index not in found and place not in taken:
            found[index] = line
            taken.add(place)
    return [found.get(index) for index in range(len(findings))]


def _lines_with_quote(finding: EarlierFinding, patch: Patch | None) -> Iterator[tuple[Line, float]]:
    """Yield each line that equals the quote, with the share (0 to 1) of the finding's nearby lines around it."""
    for hunk in patch.hunks if patch else ():
        for index, line in enumerate(hunk.lines):
            if line.side == finding.side and normalize_line(line.text) == finding.quote:
                yield line, _share(finding.nearby, _find_nearby(hunk.lines, index))


def _share(wanted: Collection[str], present: Collection[str]) -> float:
    return sum(text in present for text in wanted) / max(len(wanted), 1)


def _find_nearby(lines: Sequence[Line], index: int) -> tuple[str, ...]:
    around = [*lines[max(index - NEARBY_LINES, 0) : index], *lines[index + 1 : index + 1 + NEARBY_LINES]]
    return tuple(text for line in around if len(text := normalize_line(line.text)) >= MIN_CHARACTERS)


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
