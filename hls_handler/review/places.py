"""Finds the lines of earlier findings in the present patches of a pull request.

A line of a patch is certainly the line of a finding if it did not change since the last review, and one of the lines
around it neither. Else it is likely the same if it did not change, if enough of the lines that were around it are
around it, or if its text is not common: a finding that is lost would turn a check green. But `return True` may be right
in one function and wrong in another, so a dismissal holds only at a line that is certainly the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Literal

from hls_handler.analysis import MAX_QUOTE_CHARS
from hls_handler.review.changes import find_changed_lines
from hls_handler.review.patches import Line, Patch, Side, normalize_line

NEARBY_LINES = 3  # lines above and below a line that belong to its place
MIN_SHARE = 0.5  # of the lines around a line
MIN_CHARACTERS = 4  # shorter lines, such as a bracket, are everywhere and show no place
MIN_UNCOMMON_CHARACTERS = 10  # of a line that is found in its file without the lines around it
MIN_DISTINCT_CHARACTERS = 30  # of a line that is found in another file without them
MAX_TWINS = 200  # a new file of Go may have as many `return err`

Nearby = tuple[str, ...]
Twin = tuple[int, Nearby]  # number of a line, and the lines around it


@dataclass(frozen=True, slots=True)
class KnownLine:
    """The line of a finding at the last review."""

    path: str
    previous_path: str | None  # if the pull request renamed the file
    side: Side
    text: str  # as `identify` returns it
    nearby: Nearby  # the lines around it, likewise
    changed: Nearby  # those of them that the pull request changes, on the same side
    twins: tuple[Twin, ...]  # other lines of the file with the same text, those at the most similar places first
    number: int | None  # None: no patch showed it
    is_absent: bool  # True: the patches did not have it
    is_unchanged: bool = False  # True: the base had it


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a present patch."""

    path: str
    line: Line
    nearby: Nearby
    changed: Nearby
    twins: tuple[Twin, ...] = ()
    is_certain: bool = True  # False: it may be another line with the same text
    is_in_base: bool = False  # True: the pull request does not change the line, or it only indents it

    @property
    def position(self) -> tuple[str, Side, int]:
        return self.path, self.line.side, self.line.number


@dataclass(frozen=True, slots=True)
class PresentFiles:
    """The changed files of a pull request."""

    patches: Mapping[str, Patch]  # of all files, also of those that the review leaves out
    previous_paths: Mapping[str, str] = field(default_factory=dict)  # of renamed files, by their new path
    unread: Collection[str] = ()  # paths of files whose patch is not known completely
    is_complete: bool = True  # False: the pull request has more changed files, where a missing line may be
    reviewed: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by path at the last review, `review.changes`
    quoted: Mapping[str, Sequence[str]] = field(default_factory=dict)  # `ReviewRecord.quoted`
    in_base: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Lines that files had in the base at the last review, as `identify` returns them; by path, as far as known."""

    def own_paths(self, path: str, previous_path: str | None) -> tuple[str, ...]:
        """Return the paths that a file of the last review may have now; () if it is no longer changed."""
        base = previous_path or path
        renamed = (new for new, old in self.previous_paths.items() if old == base)
        return tuple(dict.fromkeys(one for one in (path, *renamed, base) if one in self.patches))

    def is_known(self, path: str, previous_path: str | None) -> bool:
        """Return False if GitHub did not show all lines of the files that a file of the last review may be now."""
        return {path, previous_path, *self.own_paths(path, previous_path)}.isdisjoint(self.unread)


class PatchIndex:
    """The places of the patches that have one of the texts `wanted`."""

    def __init__(self, patches: Mapping[str, Patch], wanted: Collection[str]) -> None:
        self._places: dict[str, dict[tuple[Side, str], list[Place]]] = {}
        for path, patch in patches.items() if wanted else ():
            found = self._places.setdefault(path, {})
            for hunk in patch.hunks:
                texts = [identify(line.text) for line in hunk.lines]
                for index, line in enumerate(hunk.lines):
                    if texts[index] in wanted:
                        around = _find_around(hunk.lines, texts, index)
                        changed = [text for one, text in around if one.mark != " " and one.side == line.side]
                        place = Place(path, line, tuple(text for _, text in around), tuple(changed))
                        found.setdefault((line.side, texts[index]), []).append(place)

    def find(self, path: str, side: Side, text: str) -> Sequence[Place]:
        return self._places.get(path, {}).get((side, text), ())

    def has_text(self, path: str, texts: Iterable[str]) -> bool:
        """Return True if the patch of the file has a line with one of these texts, on any side."""
        found = self._places.get(path, {})
        return any((side, text) in found for text in texts for side in _SIDES)

    def is_only(self, place: Place, sides: Iterable[Side]) -> bool:
        """Return True if no other line of the patches, on these sides, has the text of this one."""
        text = identify(place.line.text)
        return sum(len(found.get((side, text), ())) for found in self._places.values() for side in sides) == 1

    def with_twins(self, place: Place) -> Place:
        equal = self.find(place.path, place.line.side, identify(place.line.text))
        twins = [(one.line.number, one.nearby) for one in equal if one.line != place.line]
        twins.sort(key=lambda twin: -_similarity(place.nearby, twin[1]))
        return replace(place, twins=tuple(twins[:MAX_TWINS]), is_in_base=self._is_in_base(place))

    def _is_in_base(self, place: Place) -> bool:
        text = identify(place.line.text)
        removed = self.find(place.path, "LEFT", text) if len(text) >= MIN_UNCOMMON_CHARACTERS else ()
        return place.line.mark == " " or (
            place.line.mark == "+" and any(is_near(place.nearby, (), one) for one in removed)
        )


_SIDES: tuple[Side, Side] = ("LEFT", "RIGHT")


def identify(text: str) -> str:
    """Return the normalized text of a line; of a long one, which the ledger need not store, a digest of it."""
    normalized = normalize_line(text)
    if len(normalized) <= MAX_QUOTE_CHARS:
        return normalized
    return sha256(normalized.encode("utf-8", "surrogatepass")).hexdigest()


def is_near(nearby: Nearby, changed: Nearby, place: Place) -> bool:
    """Return True if at least half of the lines `nearby`, or most of the lines `changed`, are around the place.

    The second is true for a block that was moved: the unchanged lines around it stay where they are. If there are no
    lines around either place, they are near.
    """
    if not nearby:
        return not place.nearby
    return _share(nearby, place.nearby) >= MIN_SHARE or _share(changed, place.changed) > MIN_SHARE


def find_places(known: Sequence[KnownLine], files: PresentFiles, index: PatchIndex) -> Sequence[Place | None]:
    """Return the present place of each line; None if no patch has it. Each place belongs to one of the lines.

    A line is searched in its file, also if that was renamed, and then among the new lines of other files: a line that
    moved with most of the lines around it is the same. If the file had the same text at several lines, the others take
    part in the search, so that a line which was fixed does not take the place of another one.
    """
    lines = [*known, *_list_twins(known)]
    own_paths = [files.own_paths(line.path, line.previous_path) for line in lines]
    may_move = [
        not line.is_unchanged or any(index.find(path, "LEFT", line.text) for path in paths)
        for line, paths in zip(lines, own_paths, strict=True)
    ]
    changes = LineChanges(files)
    found = _assign(
        _Candidate(at, line, replace(place, is_certain=match == "certain"), is_changed=changes.has(place, line.path))
        for at, line in enumerate(lines)
        for path in own_paths[at]
        for place in index.find(path, line.side, line.text)
        if (match := _match(line, place, changes)) and (may_move[at] or not changes.has(place, line.path))
    )
    taken = {place.position for place in found.values()}
    found |= _assign(
        _Candidate(at, line, replace(place, is_certain=False), is_changed=True)
        for at, line in enumerate(known)
        if at not in found and not line.is_absent and may_move[at] and files.is_known(line.path, line.previous_path)
        for path in files.patches
        if path not in own_paths[at] and len(line.text) >= MIN_CHARACTERS
        for place in index.find(path, line.side, line.text)
        if place.position not in taken and changes.has(place, path) and _has_moved(line, place, own_paths[at], index)
    )
    return [index.with_twins(found[at]) if at in found else None for at in range(len(known))]


class LineChanges:
    """The lines that changed since the last review."""

    def __init__(self, files: PresentFiles) -> None:
        self._files = files
        self._changed: dict[tuple[str, str], Collection[tuple[Side, int]]] = {}  # by path, and path at the last review

    def is_known(self, path: str) -> bool:
        return bool(self._files.reviewed.get(path))

    def was_in_base(self, place: Place, text: str) -> bool:
        return text in self._files.in_base.get(place.path, ())

    def has(self, place: Place, path: str) -> bool:
        return self.has_line(place.path, place.line, path)

    def has_line(self, path_now: str, line: Line, path: str) -> bool:
        """Return True if the line changed. `path` is that of its file at the last review; all are new if it had none.

        A line that the pull request does not change never did.
        """
        paths = path_now, path
        if paths not in self._changed:
            patch = self._files.patches[path_now]
            found = find_changed_lines(patch, self._files.reviewed.get(path, ()), equal_ends=False)
            self._changed[paths] = {
                (hunk.lines[at].side, hunk.lines[at].number)
                for hunk, indexes in zip(patch.hunks, found, strict=True)
                for at in indexes
            }
        return (line.side, line.number) in self._changed[paths]


_Match = Literal["certain", "likely"]


def _match(line: KnownLine, place: Place, changes: LineChanges) -> _Match | None:
    """Compare a line with one of its file that has the same text."""
    near = is_near(line.nearby, line.changed, place)
    is_uncommon = len(line.text) >= MIN_UNCOMMON_CHARACTERS
    if not changes.is_known(line.path):  # its patch was not shown, or a version before 0.4.0 reviewed it
        if line.is_absent:
            return "likely" if near else None
        return "certain" if near else "likely" if is_uncommon and place.line.mark != " " else None
    near = near and bool(line.nearby)
    is_changed = changes.has(place, line.path)
    if line.is_absent:  # a line that was there when this one was not is another one
        return "likely" if near and is_changed else None
    if place.line.mark == " ":  # such lines enter and leave the patch; it is not the same if the base has it now
        return "certain" if near and (line.is_unchanged or changes.was_in_base(place, line.text)) else None
    if not is_changed and (near or not line.nearby or _share(line.nearby, place.nearby) > 0):
        return "certain"
    return "likely" if not is_changed or near or is_uncommon else None


def _list_twins(known: Iterable[KnownLine]) -> Iterator[KnownLine]:
    """Yield the twins of lines that are not known lines themselves."""
    groups: dict[tuple[str, Side, str], list[KnownLine]] = {}
    for line in known:
        if line.number is not None and not line.is_absent:
            groups.setdefault((line.path, line.side, line.text), []).append(line)
    for group in groups.values():
        numbers = {line.number for line in group}
        for number, nearby in group[0].twins:
            if number not in numbers:
                yield replace(group[0], nearby=nearby, changed=(), number=number)


@dataclass(frozen=True, slots=True)
class _Candidate:
    at: int  # index of the line
    line: KnownLine
    place: Place
    is_changed: bool

    @property
    def order(self) -> tuple[bool, bool, float, int]:
        """Sort key: certain matches and lines that did not change first, then similar places, then the nearest ones."""
        similarity = _similarity(self.line.nearby, self.place.nearby)
        return (
            not self.place.is_certain,
            self.is_changed,
            -similarity,
            abs(self.place.line.number - (self.line.number or 0)),
        )


def _assign(candidates: Iterable[_Candidate]) -> dict[int, Place]:
    """Return the place of each line by the index of the line."""
    found: dict[int, Place] = {}
    taken: set[tuple[str, Side, int]] = set()
    for one in sorted(candidates, key=lambda candidate: candidate.order):
        if one.at not in found and one.place.position not in taken:
            found[one.at] = one.place
            taken.add(one.place.position)
    return found


def _has_moved(line: KnownLine, place: Place, own_paths: Collection[str], index: PatchIndex) -> bool:
    """Return True if a line that its file does not have any more is likely the same as one of another file.

    It is if at least as many of the lines around the line are around the place as are left in its file. Unchanged lines
    do not move, so they count only if all lines around the line are unchanged, or if they are no longer in its file and
    new at the place. It is, too, if no other line has such a long text.
    """
    sides = [place.line.side] if line.is_unchanged else _SIDES  # the line itself is removed if it was unchanged before
    if len(line.text) >= MIN_DISTINCT_CHARACTERS and not line.twins and index.is_only(place, sides):
        return True
    around, there = (line.changed, place.changed) if line.changed else (line.nearby, place.nearby)
    present = {text: [one for path in own_paths for one in index.find(path, line.side, text)] for text in line.nearby}
    left = {text for text in around if any(one.line.mark != " " or not line.changed for one in present[text])}
    moved = {*around, *(text for text in line.nearby if not present[text])} & {*there}
    is_more = len(moved - left) >= max(len(left - moved), 1) or not around
    return is_more and is_near(line.nearby, line.changed, place)


def _similarity(one: Collection[str], other: Collection[str]) -> float:
    return len({*one} & {*other}) / max(len({*one} | {*other}), 1)


def _share(wanted: Collection[str], present: Collection[str]) -> float:
    return sum(text in present for text in wanted) / max(len(wanted), 1)


def _find_around(lines: Sequence[Line], texts: Sequence[str], index: int) -> Sequence[tuple[Line, str]]:
    first, last = max(index - NEARBY_LINES, 0), index + NEARBY_LINES + 1
    around = (*range(first, index), *range(index + 1, min(last, len(lines))))
    return [(lines[at], texts[at]) for at in around if len(texts[at]) >= MIN_CHARACTERS]
