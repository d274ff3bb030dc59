"""Compares the patch of a file with what HLS has reviewed of the file's earlier patches: a diff of diffs.

Line numbers are not compared, so a rebase and a merge of the base change nothing. A removed or added line was reviewed
if it stands beside the same unchanged lines as before: `return True` may be right in one function and wrong in another.
If the base changed the unchanged lines on one side, those on the other side suffice.

A reviewed hunk is stored as one token for each line: a mark, and a digest of the text. Unchanged lines have the mark
"=", or "." if they are short. The tokens "^" and "$" are the beginning and the end of the file. Before the others, a
token "@" has the heading of the hunk, and "~" the name of the function that the heading begins, if it begins one: the
base may change the parameters of a function, and in a text file the heading is any line above the hunk.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from hashlib import sha256

from hls_handler.review.patches import HUNK_HEADER, Hunk, Line, Patch

DIGEST_CHARACTERS = 16
"""Shorter digests would let an author replace a reviewed line by another one with the same digest."""

MIN_CHARACTERS = 4  # shorter lines, such as a bracket, are everywhere and show no place
CONTEXT_LINES = 3  # unchanged lines above and below a change in GitHub's patches; fewer only at the end of the file
MIN_PLACE = 2  # unchanged lines that show a place; the beginning or the end of the file suffices

MAX_PAIRS = 200_000
"""Limit on the pairs of equal lines in two sequences that are compared line by line; beyond it, all lines are new."""

MAX_HEADING = 80  # bytes of a line that git shows as a heading; longer definitions are not compared exactly

HEADING, NAME = "@", "~"
GAP = HEADING  # without a digest, so it equals no token
CHANGED, PLACE = "+-", "=^$"  # marks of tokens: of changed lines, and of those that show a place
BEGINNING, END = (mark.ljust(DIGEST_CHARACTERS + 1, "0") for mark in "^$")

_DEFINITION = re.compile(
    r"\b(?:class|def|enum|fn|func|function|interface|module|namespace|object|proc|record|struct|sub|trait|type)\s+"
    r"(?:\([^)]*\)\s*)?([\w$.:]+)"  # Go has the receiver of a method before its name
)

_Tokens = tuple[str, ...]
_Position = tuple[int, int]  # index of a hunk, and of a token in it
_Run = tuple[int, int, int]  # of equal tokens: index of the first one in each of two sequences, and their number


def with_present_headings(patch: Patch) -> Patch:
    """Return the patch with the present headings of hunks whose definition the pull request removes in a hunk above.

    GitHub takes the heading from the old file, so the lines may belong to another function now.
    """
    removed: set[str] = set()
    above = ""  # the last definition that the patch shows in the new file
    hunks: list[Hunk] = []
    for hunk in patch.hunks:
        header = HUNK_HEADER.match(hunk.header)
        heading = hunk.header[header.end() :].strip() if header else ""
        if header and heading in removed and _find_name(heading):
            hunk = replace(hunk, header=f"{header[0]} {above or 'not shown'}")
        hunks.append(hunk)
        for line in hunk.lines:
            if line.mark == "-":
                removed.add(line.text.strip()[:MAX_HEADING])
            elif _DEFINITION.search(line.text):
                above = line.text.strip()[:MAX_HEADING]
    return Patch(tuple(hunks))


def digest_hunk(hunk: Hunk, unread: Collection[int] = ()) -> str:
    """Return the tokens of a reviewed hunk, to be stored, without the lines with the indexes `unread`.

    The hunk is one of `with_present_headings`.
    The text must be redacted: a digest would reveal a short password. "" means that no changed line was read.
    """
    first, lines, last = _tokenize(hunk)
    read = [token for index, token in enumerate(lines) if index not in unread]
    return "".join((*first, *read, *last)) if any(token[0] in CHANGED for token in read) else ""


def find_changed_lines(
    patch: Patch, reviewed: Sequence[str] = (), *, equal_ends: bool = True
) -> tuple[frozenset[int], ...]:
    """Return for each hunk the indexes of the removed and added lines that changed since the review.

    `reviewed` is what `digest_hunk` returned for each hunk; () means no earlier review, so all of them are returned. If
    lines of a reviewed hunk are not there any more, the changed lines above and below them are returned, too, because a
    deleted check can be a defect. A hunk that is not there any more changes no other. If an inserted block ends with
    the lines above it, it is not known which of both are new: with `equal_ends`, both are returned, else one of them.
    """
    hunks = [_tokenize(hunk) for hunk in with_present_headings(patch).hunks]
    new = [(*first, *lines, *last) for first, lines, last in hunks]
    left = Counter(map(_split, reviewed))
    changed: dict[int, set[int]] = {}
    for number, tokens in enumerate(new):
        if left[tokens]:
            left[tokens] -= 1
        else:
            changed[number] = {index for index, token in enumerate(tokens) if token[0] in CHANGED}
    old = list(left.elements())
    kept = dict[_Position, _Position]()  # positions of tokens in `old`, and of the same ones in `new`
    for number, near in _find_near(old, {number: new[number] for number in changed}):
        places = _list_left(old, near, kept)
        left_tokens = [GAP if place is None else old[place[0]][place[1]] for place in places]
        for i, j, size in _find_kept(left_tokens, new[number]):
            same = zip(places[i : i + size], range(j, j + size), strict=True)
            kept.update((place, (number, index)) for place, index in same if place is not None)
    for number, index in kept.values():
        changed[number].discard(index)
    for number, found in changed.items() if equal_ends else ():
        found |= {*_find_equal_ends(new[number], found)}
    for number, index in list(_find_beside_deleted(old, new, kept)):
        changed[number].add(index)
    return tuple(
        frozenset(index - len(first) for index in changed.get(number, ())) for number, (first, _, _) in enumerate(hunks)
    )


def _list_left(
    old: Sequence[_Tokens], near: Sequence[int], kept: Mapping[_Position, _Position]
) -> list[_Position | None]:
    """Return the positions that no new hunk has taken, with None between those that were not beside each other."""
    left: list[_Position | None] = []
    for at in near:
        for index in range(len(old[at])):
            if (at, index) not in kept:
                left += [None] if left and left[-1] != (at, index - 1) else []
                left.append((at, index))
    return left


def _tokenize(hunk: Hunk) -> tuple[_Tokens, _Tokens, _Tokens]:
    """Return what precedes the lines (the heading, or `BEGINNING`), the tokens of the lines, and `END` or nothing."""
    header = HUNK_HEADER.match(hunk.header)
    heading = hunk.header[header.end() :].strip() if header else ""
    name = _find_name(heading)
    first = [HEADING + _digest(f"{heading}\n")] if heading else []
    first += [NAME + _digest(name)] if name else []
    first += [BEGINNING] if header is None or int(header[3]) <= 1 else []
    ends = any(line.mark != " " for line in hunk.lines[-CONTEXT_LINES:])
    return tuple(first), tuple(map(_token, hunk.lines)), (END,) if ends else ()


def _find_name(heading: str) -> str:
    """Return what names the function, class or section that the heading begins; "" if it seems to begin none."""
    definition = _DEFINITION.search(heading)
    if definition:
        return definition[1]
    if "(" in heading and "'" not in heading and '"' not in heading:
        return heading.partition("(")[0].strip()
    return heading if heading.endswith((":", "{")) or "(" in heading else ""


def _token(line: Line) -> str:
    mark = line.mark if line.mark != " " else "=" if len(line.text.strip()) >= MIN_CHARACTERS else "."
    return mark + _digest(f"{line.text}{'' if line.lacks_newline else chr(10)}")


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARACTERS]


def _split(stored: str) -> _Tokens:
    size = DIGEST_CHARACTERS + 1
    return tuple(stored[start : start + size] for start in range(0, len(stored), size))


def _find_near(old: Sequence[_Tokens], new: dict[int, _Tokens]) -> list[tuple[int, list[int]]]:
    """Return the number of each new hunk with the indexes of the old ones that may be at the same place.

    Those with most lines in common come first: a moved block may stand between lines that another hunk has, too.
    """
    by_token: dict[str, list[int]] = {}
    for at, tokens in enumerate(old):
        for token in set(tokens):
            by_token.setdefault(token, []).append(at)
    found: list[tuple[int, int, list[int]]] = []
    for number, hunk in new.items():
        shared: dict[int, list[str]] = {}
        for token in set(hunk):
            for at in by_token.get(token, ()):
                shared.setdefault(at, []).append(token)
        near = [at for at, same in shared.items() if _show_place(same) and _is_in_function(old[at], hunk)]
        found.append((max((len(shared[at]) for at in near), default=0), number, sorted(near)))
    found.sort(key=lambda one: -one[0])
    return [(number, near) for _, number, near in found]


def _is_in_function(old: _Tokens, new: _Tokens) -> bool:
    """Return True unless the headings have different names.

    A change above a hunk may move its beginning across the heading.
    """
    if old[0][0] != HEADING or new[0][0] != HEADING:
        return True
    names = [[token for token in tokens[1:2] if token[0] == NAME] for tokens in (old, new)]
    if names[0] == names[1]:
        return True
    return any(one[0][1:] in {token[1:] for token in other[1:]} for one, other in ((old, new), (new, old)))


def _show_place(tokens: Sequence[str]) -> bool:
    return len({token for token in tokens if token[0] in PLACE}) >= MIN_PLACE or BEGINNING in tokens or END in tokens


def _find_kept(old: Sequence[str], new: Sequence[str]) -> Iterator[_Run]:
    """Yield the runs of equal tokens that are still at their place.

    They contain lines that show the place, or are between lines that only the pull request changed.
    """
    runs = [(0, 0, 0), *_find_equal(old, new), (len(old), len(new), 0)]
    for (i0, j0, before), (i, j, size), (i1, j1, _) in zip(runs, runs[1:], runs[2:], strict=False):
        is_between_own = _is_own(old[i0 + before : i], new[j0 + before : j]) and _is_own(
            old[i + size : i1], new[j + size : j1]
        )
        if is_between_own or _show_place(new[j : j + size]):
            yield i, j, size


def _is_own(old: Sequence[str], new: Sequence[str]) -> bool:
    """Return True if the unchanged lines of one sequence are removed ones of the other: the base changed none."""
    return all(
        {token[1:] for token in one if token[0] not in CHANGED + HEADING + NAME}
        <= {token[1:] for token in other if token.startswith("-")}
        for one, other in ((old, new), (new, old))
    )


def _find_equal(one: Sequence[str], other: Sequence[str]) -> Iterator[_Run]:
    head = _common_length(one, other)
    tail = _common_length(one[head:][::-1], other[head:][::-1])
    if head:
        yield 0, 0, head
    old, new = one[head : len(one) - tail], other[head : len(other) - tail]
    counts = Counter(new)
    if sum(counts[token] for token in old) <= MAX_PAIRS:
        for i, j, size in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
            if size:
                yield head + i, head + j, size
    if tail:
        yield len(one) - tail, len(other) - tail, tail


def _common_length(one: Sequence[str], other: Sequence[str]) -> int:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length


def _find_equal_ends(tokens: _Tokens, changed: Collection[int]) -> Iterator[int]:
    """Yield the indexes of reviewed lines that a block of changed lines could have as its first or last ones instead.

    If a function is inserted before one that ends with the same `return None`, it has either of these lines.
    """
    first = [index for index in changed if index - 1 not in changed]
    last = [index for index in changed if index + 1 not in changed]
    for start, end in zip(sorted(first), sorted(last), strict=True):
        size = end - start + 1
        for step, edge in ((1, end), (-1, start)):
            for index in range(edge + step, edge + step * (size + 1), step):
                is_equal = 0 <= index < len(tokens) and tokens[index] == tokens[index - step * size]
                if not is_equal or tokens[index][0] not in CHANGED:
                    break
                yield index


def _find_beside_deleted(
    old: Sequence[_Tokens], new: Sequence[_Tokens], kept: dict[_Position, _Position]
) -> Iterator[_Position]:
    """Yield the positions in `new` of the changed lines directly above and below those that were deleted."""
    for at, tokens in enumerate(old):
        edges = [index for index, token in enumerate(tokens) if token[0] in CHANGED and (at, index) in kept]
        for first, last in zip([-1, *edges], [*edges, len(tokens)], strict=True) if edges else ():
            above, below = kept.get((at, first)), kept.get((at, last))
            number = (above or below or (0, 0))[0]
            start = above[1] + 1 if above else 0
            end = below[1] if below and below[0] == number else len(new[number])
            between = new[number][start:end]
            if not any(token[0] in CHANGED for token in between) and _is_deleted(tokens[first + 1 : last], between):
                yield from (place for place in (above, below) if place is not None)


def _is_deleted(old: Sequence[str], new: Sequence[str]) -> bool:
    """Return True if an added line is not there any more, or a removed one is there again."""
    unchanged = {token[1:] for token in new if token[0] not in CHANGED}
    return any(
        token[0] in CHANGED and (token.startswith("-") if token[1:] in unchanged else token.startswith("+"))
        for token in old
    )
