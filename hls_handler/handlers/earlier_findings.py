"""Compares the findings that a comment on a pull request has shown with the present patches.

Each is still open, fixed, or gone with its lines.

Findings are matched by file and quoted line, because Claude sees no earlier reply. If a file has the line several
times, the lines around it decide. A finding stays open while its quoted line is in the patch, also if Claude does not
repeat it: replies about the same text differ, and an author must not be able to clear a finding by changing another
line or by moving the code to another file. A person decides about a finding that stays open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import TypeAdapter

from hls_handler.analysis import Finding, Severity
from hls_handler.handlers.handler import parse_comment_state
from hls_handler.review.patches import Line, Patch, Side, normalize_line

NEARBY_LINES = 3  # lines above and below the quoted line that belong to its place
MIN_SHARE = 0.5  # of the lines around it must have moved with a line
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
    places = _index_patches(patches)
    current = [_follow_move(finding, places, unread) for finding in earlier]
    return tuple(
        replace(finding, state=_find_state(finding, line, places.get(finding.path, {}), finding.path in unread))
        for finding, line in zip(current, _find_lines(current, places), strict=True)
    )


def remember(findings: Iterable[Finding], patches: Mapping[str, Patch]) -> tuple[EarlierFinding, ...]:
    """Return the findings that the comment shows, as later events need them."""
    remembered: list[EarlierFinding] = []
    for finding in findings:
        lines, index = _find_line(finding, patches)
        nearby = _find_nearby([normalize_line(line.text) for line in lines], index)
        quote = normalize_line(lines[index].text) if lines else normalize_line(finding.quote)
        place = (finding.path, finding.side, quote, nearby)
        remembered.append(EarlierFinding(*place, finding.severity, finding.title, "open"))
    return tuple(remembered)


def without_repeated(
    earlier: Sequence[EarlierFinding], shown: Sequence[EarlierFinding], patches: Mapping[str, Patch]
) -> tuple[EarlierFinding, ...]:
    """Return the earlier findings that no finding in the comment repeats. Each repeats one about the same line."""
    places = _index_patches(patches)
    others = list(zip(earlier, _find_lines(earlier, places), strict=True))
    repeating = list(zip(shown, _find_lines(shown, places), strict=True))
    for key in (_line_and_title, _line):
        for one in tuple(repeating):
            same = next((other for other in others if key(*other) == key(*one)), None)
            if same is not None:
                others.remove(same)
                repeating.remove(one)
    return tuple(finding for finding, _ in others)


def locate_open(earlier: Iterable[EarlierFinding], patches: Mapping[str, Patch]) -> tuple[OpenFinding, ...]:
    """Return the open findings of `earlier`, with the line on which their quote is now."""
    still_open = [finding for finding in earlier if finding.state == "open"]
    return tuple(
        OpenFinding(finding.path, finding.side, line.number if line else None, finding.severity, finding.title)
        for finding, line in zip(still_open, _find_lines(still_open, _index_patches(patches)), strict=True)
    )


def _line(finding: EarlierFinding, line: Line | None) -> tuple[object, ...]:
    return finding.path, finding.side, finding.quote, line and line.number


def _line_and_title(finding: EarlierFinding, line: Line | None) -> tuple[object, ...]:
    return *_line(finding, line), finding.title


_Places = Mapping[tuple[Side, str], Sequence[tuple[Line, tuple[str, ...]]]]
"""The lines of a patch by side and normalized text, each with the lines around it."""


def _index_patches(patches: Mapping[str, Patch]) -> Mapping[str, _Places]:
    return {path: _index_patch(patch) for path, patch in patches.items()}


def _index_patch(patch: Patch) -> _Places:
    places: dict[tuple[Side, str], list[tuple[Line, tuple[str, ...]]]] = {}
    for hunk in patch.hunks:
        texts = [normalize_line(line.text) for line in hunk.lines]
        for index, line in enumerate(hunk.lines):
            places.setdefault((line.side, texts[index]), []).append((line, _find_nearby(texts, index)))
    return places


def _follow_move(finding: EarlierFinding, places: Mapping[str, _Places], unread: Collection[str]) -> EarlierFinding:
    """Return the finding with the path of the file to which its line was moved together with lines around it."""
    own = places.get(finding.path, {})
    is_settled = finding.state != "open" or finding.path in unread or len(finding.quote) < MIN_CHARACTERS
    if is_settled or any((finding.side, text) in own for text in (finding.quote, *finding.nearby)):
        return finding
    shares = {
        path: max(_share(finding.nearby, nearby) for _, nearby in found)
        for path, of_file in places.items()
        if (found := of_file.get((finding.side, finding.quote)))
    }
    best = max(shares, key=shares.__getitem__, default=None)
    if best is None or (finding.nearby and shares[best] < MIN_SHARE):
        return finding
    return replace(finding, path=best)


def _find_state(finding: EarlierFinding, line: Line | None, places: _Places, is_unread: bool) -> FindingState:
    if line is not None:
        return "open"
    if finding.state != "open" or is_unread:
        return finding.state
    is_place_present = any(
        (side, text) in places for text in (finding.quote, *finding.nearby) for side in ("LEFT", "RIGHT")
    )
    return "fixed" if is_place_present else "gone"


def _find_lines(findings: Sequence[EarlierFinding], places: Mapping[str, _Places]) -> Sequence[Line | None]:
    """Return the line of each finding's quote. Findings at different places have different lines."""
    candidates = [
        (_similarity(finding.nearby, nearby), index, line)
        for index, finding in enumerate(findings)
        for line, nearby in places.get(finding.path, {}).get((finding.side, finding.quote), ())
    ]
    found: dict[int, Line] = {}
    taken: dict[tuple[str, Side, int], tuple[str, ...]] = {}  # line -> the lines around it when it was remembered
    for _, index, line in sorted(candidates, key=lambda candidate: -candidate[0]):
        finding = findings[index]
        key = (finding.path, line.side, line.number)
        if index not in found and taken.setdefault(key, finding.nearby) == finding.nearby:
            found[index] = line
    return [found.get(index) for index in range(len(findings))]


def _similarity(one: Collection[str], other: Collection[str]) -> float:
    return len({*one} & {*other}) / max(len({*one} | {*other}), 1)


def _share(wanted: Collection[str], present: Collection[str]) -> float:
    return sum(text in present for text in wanted) / max(len(wanted), 1)


def _find_nearby(texts: Sequence[str], index: int) -> tuple[str, ...]:
    around = (*texts[max(index - NEARBY_LINES, 0) : index], *texts[index + 1 : index + 1 + NEARBY_LINES])
    return tuple(text for text in around if len(text) >= MIN_CHARACTERS)


def _find_line(finding: Finding, patches: Mapping[str, Patch]) -> tuple[Sequence[Line], int]:
    """Return the lines of the finding's hunk and the index of its line; ((), 0) if the patch does not have it."""
    patch = patches.get(finding.path)
    for hunk in patch.hunks if patch else ():
        for index, line in enumerate(hunk.lines):
            if (line.side, line.number) == (finding.side, finding.line):
                return hunk.lines, index
    return (), 0
