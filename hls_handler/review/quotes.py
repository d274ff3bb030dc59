"""Finds the lines of findings of several lines in the present patches.

The lines of the last patch of the file are compared with those of the present one. The finding quotes what is now
between the lines that were directly above and below its quote, also if the author replaced its first or last line by
others, and its lines that moved a little. If none of its lines is left there, they may have moved together. A line that
moved farther than the others is new code, which the review reads.

`review/ledger.py` follows findings of one line in another way, see `review/places.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from hashlib import sha256
from itertools import accumulate, pairwise, takewhile

from hls_handler.analysis import Finding
from hls_handler.review.patches import Hunk, Line, Patch, Side
from hls_handler.review.places import (
    MIN_CHARACTERS,
    MIN_DISTINCT_CHARACTERS,
    MIN_SHARE,
    MIN_UNCOMMON_CHARACTERS,
    NEARBY_LINES,
    LineChanges,
    PresentFiles,
    identify,
)
from hls_handler.review.record import LedgerEntry

MAX_LINES = 60  # of those that are stored of a finding
MAX_INSERTED = 30  # lines between those of a finding that moved together
EXCERPT_LINES = 40  # lines above and below a finding that Claude is shown with it, at most
PART_LINES = 200  # lines above and below a finding that are stored with it if its file is shown in part
MAX_PAIRS = 500_000
"""Limit on the pairs of equal lines in two patches of a file; beyond it, lines that are frequent are not compared."""


def find_anchor(finding: Finding, patch: Patch) -> int:
    """Return the number of the line that the ledger knows a finding by.

    It is the last of its lines that the pull request changed, if possible one of some length, because a short one is
    everywhere; else the last line of the finding.
    """
    quoted = range(finding.start_line or finding.line, finding.line + 1)
    return _find_anchor(list_within(patch, finding.side, quoted), finding.side) or finding.line


def _find_anchor(lines: Iterable[Line], side: Side) -> int | None:
    """Return the number of the last line of this side that matters most; None if there is none."""
    own = [line for line in lines if line.side == side]
    wanted = (
        [line for line in own if _is_changed(line) and _is_long(line)],
        [line for line in own if _is_changed(line) and not _is_bracket(line)],
        [line for line in own if _is_long(line)],
        own,
    )
    return next((found[-1].number for found in wanted if found), None)


def add_quote(entry: LedgerEntry, patches: Mapping[str, Patch], unread: Collection[str]) -> LedgerEntry:
    """Return the entry with its present lines as those for which it is right."""
    lines = [*list_within(patches[entry.path], entry.side, entry.quoted_lines)]
    digest = _digest(patches[entry.path], entry.side, entry.quoted_lines)
    important = _list_important([*map(_to_token, lines)], range(len(lines)), entry.side)
    wanted = [identify(lines[at].text) for at in important]
    return replace(
        entry,
        lines=tuple(wanted[: MAX_LINES // 2] + wanted[MAX_LINES // 2 :][-MAX_LINES // 2 :]),
        quoted=digest,
        decided=digest,
        part=list_part(entry, patches[entry.path]) if entry.path in unread else (),
        is_quote_changed=False,
    )


def _digest(patch: Patch, side: Side, numbers: range) -> str:
    """Return a digest of what the pull request changes in the lines of a finding.

    These are the changed lines, and those that it removes between them or in the same change: a quoted line that is
    removed is above the added ones then. The base may change the others, and whether a bracket counts as changed
    depends on other lines.
    """
    lines = list_compared(patch, side, numbers)
    changed = [line for line in lines if _is_changed(line) and not _is_bracket(line)]
    own = {identify(line.text) for line in changed if line.side == side}
    marked = ((line.side, line.mark, identify(line.text)) for line in changed)
    texts = [f"{mark}{text}" for line_side, mark, text in marked if line_side == side or text not in own]
    return sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def list_compared(patch: Patch, side: Side, numbers: range) -> Iterator[Line]:
    """Yield the lines of `list_within`, and those of the other side directly beside them in the same change."""
    for hunk, within in find_within(patch, side, numbers):
        above = reversed([*takewhile(_is_changed, reversed(hunk.lines[: within.start]))])
        yield from (line for line in above if line.side != side)
        yield from hunk.lines[within.start : within.stop]
        yield from (line for line in takewhile(_is_changed, hunk.lines[within.stop :]) if line.side != side)


def list_within(patch: Patch, side: Side, numbers: range) -> Iterator[Line]:
    """Yield the lines of one side with these numbers, and the lines of the other side between them."""
    for hunk, within in find_within(patch, side, numbers):
        yield from hunk.lines[within.start : within.stop]


def find_within(patch: Patch, side: Side, numbers: range) -> Iterator[tuple[Hunk, range]]:
    """Yield the hunks that show such lines, and the indexes from the first to the last of these lines."""
    for hunk in patch.hunks:
        last = next((line.number for line in reversed(hunk.lines) if line.side == side), 0)
        if last < numbers.start:
            continue
        within = [at for at, line in enumerate(hunk.lines) if line.side == side and line.number in numbers]
        if within:
            yield hunk, range(within[0], within[-1] + 1)


def list_tokens(patch: Patch) -> tuple[str, ...]:
    """Return the lines of a patch, to be stored: mark, number, kind ("=", "." if short, "(" for brackets) and digest.

    Example: "+12 =5d41402abc4b".
    """
    return tuple(_to_token(line) for hunk in patch.hunks for line in hunk.lines)


def list_part(entry: LedgerEntry, patch: Patch) -> tuple[str, ...]:
    """Return the lines around those of an entry as `list_tokens` does, to find them in a whole patch.

    The lines of the last whole patch do not show where they are if they are newer.
    """
    near = (
        hunk.lines[max(within.start - PART_LINES, 0) : within.stop + PART_LINES]
        for hunk, within in find_within(patch, entry.side, entry.quoted_lines)
    )
    return tuple(_to_token(line) for lines in near for line in lines)


def _to_token(line: Line) -> str:
    digest = sha256(identify(line.text).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    kind = "(" if _is_bracket(line) else "=" if _is_long(line) else "."
    return f"{line.mark}{line.number} {kind}{digest}"


class QuoteFinder:
    """Finds the present lines of findings of several lines."""

    def __init__(self, files: PresentFiles) -> None:
        self._files = files
        self._changes = LineChanges(files)
        self._kept: dict[tuple[str, str], Mapping[int, int]] = {}
        self._texts: dict[str, Mapping[str, Sequence[int]]] = {}

    def find(self, entry: LedgerEntry) -> tuple[LedgerEntry, bool] | None:
        """Return the entry at its present lines, and True if they certainly are the same; None if none is there.

        Nothing is known about the lines of a file whose patch is not known completely.
        """
        if not self._files.is_known(entry.path, entry.previous_path):
            return None
        return self._find(entry, self._files.own_paths(entry.path, entry.previous_path))

    def _find(self, entry: LedgerEntry, paths: Sequence[str]) -> tuple[LedgerEntry, bool] | None:
        for path in paths if not entry.is_absent else ():
            if (region := self._follow(entry, path)) is not None:
                return self._place(entry, path, region)
        for path in (*paths, *(path for path in self._files.patches if path not in paths)):
            if (region := self._search(entry, path, is_own=path in paths)) is not None:
                return self._place(entry, path, region)
        return None

    def _place(self, entry: LedgerEntry, path: str, region: range) -> tuple[LedgerEntry, bool] | None:
        lines = self._list_lines(path)
        while region.start and not any(line.side == entry.side for line in lines[region.start : region.stop]):
            region = range(region.start - 1, region.stop)
        quoted = lines[region.start : region.stop]
        same = [line for line in quoted if identify(line.text) == entry.quote and _is_changed(line)]
        anchor = _find_anchor(same, entry.side) or _find_anchor(quoted, entry.side)
        if anchor is None:
            return None
        numbers = [line.number for line in quoted if line.side == entry.side]
        at = next(at for at in region if (lines[at].side, lines[at].number) == (entry.side, anchor))
        around = (*lines[max(at - NEARBY_LINES, 0) : at], *lines[at + 1 : at + 1 + NEARBY_LINES])
        digest = _digest(self._files.patches[path], entry.side, range(numbers[0], numbers[-1] + 1))
        own = self._files.own_paths(entry.path, entry.previous_path)
        placed = replace(
            entry,
            path=path,
            quote=identify(lines[at].text),
            nearby=tuple(identify(line.text) for line in around if _is_long(line)),
            line=anchor,
            shown_line=anchor,
            lines_above=anchor - numbers[0],
            lines_below=numbers[-1] - anchor,
            is_unchanged=not any(map(_is_changed, quoted)),
            quoted=digest,
            is_quote_changed=digest != entry.decided,
        )
        patch, is_part = self._files.patches[path], path in self._files.unread
        placed = replace(placed, part=list_part(placed, patch) if is_part else ())
        is_unknown = path in own and not self._changes.is_known(entry.path)  # the last review did not read it
        has_changed = self._changes.has_line(path, lines[at], entry.path if path in own else path)
        return placed, is_unknown or not has_changed

    def _list_lines(self, path: str) -> Sequence[Line]:
        return [line for hunk in self._files.patches[path].hunks for line in hunk.lines]

    def _follow(self, entry: LedgerEntry, path: str) -> range | None:
        """Return the indexes of what is now in place of the lines of the finding; None if all that matter are gone."""
        old = self._list_old(entry)
        inside = [at for at, token in enumerate(old) if _is_quoted(token, entry)]
        if not inside:
            return None
        kept, lines = self._align(entry, path), self._list_lines(path)
        within = range(inside[0], inside[-1] + 1)
        important = _list_important(old, within, entry.side)
        is_changed = any(old[at][0] != " " for at in within)
        if not any(at in kept and (_is_changed(lines[kept[at]]) or not is_changed) for at in important):
            return None
        if (stayed := self._find_stayed(entry, path)) is not None:
            return stayed
        present = [kept[at] for at in within if at in kept]
        starts = [0, *accumulate(len(hunk.lines) for hunk in self._files.patches[path].hunks)]
        above = max((kept[at] + 1 for at in kept if at < within.start), default=0)
        below = min((kept[at] for at in kept if at >= within.stop), default=len(lines))
        first = starts[bisect_right(starts, present[0]) - 1]
        last = starts[bisect_right(starts, present[-1])]
        start = kept.get(within.start, max(above, first))
        stop = kept[within.stop - 1] + 1 if within.stop - 1 in kept else min(below, last)
        lost = {_to_key(old[at]) for at in important if at not in kept}
        near = range(max(start - EXCERPT_LINES, first), min(stop + EXCERPT_LINES, last))
        known = {*kept.values()}
        moved = [at for at in near if at not in known and _is_long(lines[at]) and _to_key(_to_token(lines[at])) in lost]
        return range(min([start, *moved]), max([stop, *(at + 1 for at in moved)]))

    def _find_stayed(self, entry: LedgerEntry, path: str) -> range | None:
        """Return the index of the line that the finding is known by, if it did not change since the last review.

        The comparison may have kept a longer block that moved away from it.
        """
        kept, lines = self._align(entry, path), self._list_lines(path)
        known = f"{entry.shown_line} "
        old = [
            at
            for at, token in enumerate(self._list_old(entry))
            if _is_quoted(token, entry) and token[1:].startswith(known)
        ]
        if not old or old[0] in kept or not self._changes.is_known(entry.path):
            return None
        taken = {*kept.values()}
        own = [
            at
            for at in self._find_texts(path).get(entry.quote, ())
            if lines[at].side == entry.side and _is_changed(lines[at]) and at not in taken
            if not self._changes.has_line(path, lines[at], entry.path)
        ]
        return range(own[0], own[0] + 1) if len(own) == 1 else None

    def _list_old(self, entry: LedgerEntry) -> Sequence[str]:
        return entry.part or self._files.quoted.get(entry.path, ())

    def _align(self, entry: LedgerEntry, path: str) -> Mapping[int, int]:
        """Return the indexes of the lines of the last patch that are in the present one, with those there."""
        before = entry.key if entry.part else entry.path
        if (before, path) not in self._kept:
            old, new = self._list_old(entry), list_tokens(self._files.patches[path])
            kept: dict[int, int] = {}
            # The base may have got an added line, so lines are also compared without their mark. But unchanged lines
            # that the author moved are added ones then, so those with the same mark come first.
            for marked in (True, False):
                blocks = [(-1, -1), *sorted(kept.items()), (len(old), len(new))]
                for (i0, j0), (i1, j1) in pairwise(blocks):
                    kept.update(_compare(old, new, range(i0 + 1, i1), range(j0 + 1, j1), marked=marked))
            self._kept[before, path] = kept
        return self._kept[before, path]

    def _search(self, entry: LedgerEntry, path: str, *, is_own: bool) -> range | None:
        """Return the indexes of lines that moved together, or that are there again."""
        is_shown_again = not entry.is_absent and not entry.shown_line  # the patch of its file did not show it
        if not is_own and (entry.is_absent or entry.is_unchanged):
            return None
        lines, texts = self._list_lines(path), self._find_texts(path)
        before = entry.path if is_own else path
        # The comparison may have kept another block that changed places with this one.
        is_compared = is_own and not entry.is_absent and bool(self._list_old(entry))
        kept = {*self._align(entry, path).values()} if is_compared else {*range(len(lines))}
        found = sorted(
            (at, text)
            for text in {*entry.lines}
            for at in texts.get(text, ())
            if lines[at].side == entry.side
            and (_is_changed(lines[at]) or entry.is_unchanged)
            and ((is_own and is_shown_again) or at not in kept or self._changes.has_line(path, lines[at], before))
        )
        span = entry.lines_above + entry.lines_below + 1 + MAX_INSERTED
        best: list[tuple[int, str]] = []
        first = 0
        for last, (at, _) in enumerate(found):
            while found[first][0] < at - span:
                first += 1
            if len({text for _, text in found[first : last + 1]}) > len({text for _, text in best}):
                best = found[first : last + 1]
        present = {text for _, text in best}
        is_whole = len(present) == len({*entry.lines}) > 1
        wanted = MIN_UNCOMMON_CHARACTERS if is_own else MIN_DISTINCT_CHARACTERS
        if not best or len(present) < MIN_SHARE * len({*entry.lines}):
            return None
        if not is_whole and sum(map(len, present)) < wanted:
            return None
        stop = best[-1][0] + 1
        while stop < len(lines) and _is_bracket(lines[stop]) and _is_changed(lines[stop]):
            stop += 1
        return range(best[0][0], stop)

    def _find_texts(self, path: str) -> Mapping[str, Sequence[int]]:
        if path not in self._texts:
            found: dict[str, list[int]] = {}
            for at, line in enumerate(self._list_lines(path)):
                found.setdefault(identify(line.text), []).append(at)
            self._texts[path] = found
        return self._texts[path]


def _is_quoted(token: str, entry: LedgerEntry) -> bool:
    side, number = ("LEFT" if token[0] == "-" else "RIGHT"), token[1:].partition(" ")[0]
    return side == entry.side and int(number) in entry.quoted_lines


def _list_important(tokens: Sequence[str], within: range, side: Side) -> Sequence[int]:
    """Return the indexes of the lines of a finding that matter.

    These are the changed ones of its side, else the ones that the pull request removes between them, else all of them.
    """
    own = [at for at in within if (tokens[at][0] == "-") == (side == "LEFT")]
    wanted = (
        [at for at in own if tokens[at][0] != " " and " =" in tokens[at]],
        [at for at in own if tokens[at][0] != " " and " (" not in tokens[at]],
        [at for at in within if tokens[at][0] != " " and " =" in tokens[at]],
        [at for at in own if " =" in tokens[at]],
    )
    return next((found for found in wanted if found), own)


def _compare(
    old: Sequence[str], new: Sequence[str], at_old: range, at_new: range, *, marked: bool
) -> Iterator[tuple[int, int]]:
    """Yield the indexes of equal lines in two parts of patches, in their order."""
    keys, present = (_to_keys(tokens, at, marked=marked) for tokens, at in ((old, at_old), (new, at_new)))
    counts = Counter(present)
    is_large = sum(counts[key] for key in keys) > MAX_PAIRS
    for i, j, size in SequenceMatcher(None, keys, present, autojunk=is_large).get_matching_blocks():
        yield from zip(at_old[i : i + size], at_new[j : j + size], strict=True)


def _to_keys(tokens: Sequence[str], indexes: range, *, marked: bool) -> list[tuple[str, ...]]:
    """Return what is compared of lines. A bracket is everywhere, so it belongs to the lines above it."""
    keys: list[tuple[str, ...]] = []
    for at in indexes:
        key = _to_key(tokens[at], marked=marked)
        keys.append(key if key[1].startswith("=") or not keys else (*key, *keys[-1][:4]))
    return keys


def _to_key(token: str, *, marked: bool = False) -> tuple[str, str]:
    """Return what a line has in common with itself in another patch: its side or its mark, and its text."""
    return token[0] if marked or token[0] == "-" else "+", token.rpartition(" ")[2]


def _is_changed(line: Line) -> bool:
    return line.mark != " "


def _is_bracket(line: Line) -> bool:
    return not identify(line.text).strip("()[]{},; ")


def _is_long(line: Line) -> bool:
    return len(identify(line.text)) >= MIN_CHARACTERS
