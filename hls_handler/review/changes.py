"""Compares the patch of a file with what HLS has reviewed of the file's earlier patches: a diff of diffs.

Only removed and added lines are compared, without their numbers, so a rebase and a merge of the base change nothing. A
block is a run of removed and added lines without an unchanged line between them. The same block at another place is
new, because `return True` may be right in one function and wrong in another: a part of the unchanged lines around it
must be the same. Not all, because a rebase may change some. A block is stored as the digests of its lines, a colon, and
the digests of the lines around it, 16 characters each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from hashlib import sha256
from itertools import pairwise

from hls_handler.review.patches import Hunk, Line, Patch
from hls_handler.untrusted.redaction import redact

DIGEST_CHARACTERS = 16
"""Shorter digests would let an author replace a reviewed line by another one with the same digest."""

AROUND = 3  # unchanged lines above and below a block that belong to its place
MIN_CHARACTERS = 4  # shorter lines, such as a bracket, are everywhere and show no place
MIN_SHARED = 3  # lines around a block that show that its place is the same, or more than half of them

MAX_COMPARED = 200_000
"""Limit on the product of the numbers of lines that are compared one by one; beyond it, all of them are new."""


@dataclass(frozen=True, slots=True)
class _Reviewed:
    digests: tuple[str, ...]
    around: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Block:
    hunk: int
    start: int  # index of the first line in the hunk
    digests: tuple[str, ...]  # of its lines
    around: frozenset[str]  # digests of the unchanged lines around it


def digest_blocks(hunks: Sequence[Hunk]) -> tuple[str, ...]:
    """Return the digests of the blocks of these hunks, in order, to be stored as reviewed."""
    return tuple(_dump(block.digests, block.around) for block in _list_blocks(hunks))


def digest_read_lines(hunk: Hunk, unread: Collection[int]) -> tuple[str, ...]:
    """Return the digests of a hunk's blocks without the lines with the indexes `unread`, which divide a block."""
    digests: list[str] = []
    for block in _list_blocks([hunk]):
        runs: list[list[str]] = [[]]
        for index, digest in enumerate(block.digests, block.start):
            if index in unread:
                runs.append([])
            else:
                runs[-1].append(digest)
        digests += [_dump(run, block.around) for run in runs if run]
    return tuple(digests)


def _dump(digests: Iterable[str], around: Iterable[str]) -> str:
    return ":".join(("".join(digests), "".join(sorted(around))))


def find_changed_lines(patch: Patch, reviewed: Sequence[str] = ()) -> tuple[frozenset[int], ...]:
    """Return for each hunk the indexes of its lines that changed since the review. () means no earlier review.

    `reviewed` is what `digest_blocks` returned. Without it, these are all removed and added lines. If lines were
    deleted from a reviewed block, the lines beside them count as changed. If a whole block was deleted, nothing does.
    If all lines of a block were reviewed, but at another place, all of them count as changed.
    """
    if not reviewed:
        return tuple(
            frozenset(index for index, line in enumerate(hunk.lines) if line.mark != " ") for hunk in patch.hunks
        )
    unseen: dict[tuple[str, ...], list[_Reviewed]] = {}
    for old in map(_parse, reviewed):
        unseen.setdefault(old.digests, []).append(old)
    new: list[_Block] = []
    for block in _list_blocks(patch.hunks):
        equal = unseen.get(block.digests, [])
        same = next((old for old in equal if _is_same_place(old.around, block.around)), None)
        if same is not None:
            equal.remove(same)
        else:
            new.append(block)
    found: dict[_Block, set[int]] = {block: set() for block in new}
    left = [old.digests for blocks in unseen.values() for old in blocks]
    for block, index in _find_new_lines(left, new):
        found[block].add(index)
    changed: list[set[int]] = [set() for _ in patch.hunks]
    for block, indexes in found.items():
        changed[block.hunk].update(block.start + index for index in indexes or range(len(block.digests)))
    return tuple(map(frozenset, changed))


def _list_blocks(hunks: Sequence[Hunk]) -> list[_Block]:
    # A digest of a line would reveal a short password in it. To search all lines at once takes a tenth of the time.
    text = "\n".join(line.text for hunk in hunks for line in hunk.lines)
    digest = _digest if redact(text) == text else _digest_redacted
    blocks: list[_Block] = []
    for number, hunk in enumerate(hunks):
        edges = [-1, *(index for index, line in enumerate(hunk.lines) if line.mark == " "), len(hunk.lines)]
        for before, after in pairwise(edges):
            if after - before > 1:
                lines = tuple(map(digest, hunk.lines[before + 1 : after]))
                above, below = hunk.lines[: before + 1][::-1], hunk.lines[after:]
                around = {*_digest_around(above, "beginning", digest), *_digest_around(below, "end", digest)}
                blocks.append(_Block(number, before + 1, lines, frozenset(around)))
    return blocks


def _digest_around(lines: Sequence[Line], edge: str, digest: Callable[[Line], str]) -> Iterator[str]:
    """Yield the digests of the first unchanged lines that show a place, without their numbers and blanks around them.

    `edge` tells those above a block ("beginning") from those below ("end"). If two of the first `AROUND` lines show a
    place, or if the file begins or ends there, the digest of all of them together is also yielded: "=" and 15
    characters.
    """
    unchanged = [line.text.strip() for line in lines if line.mark == " "]
    specific = [text for text in unchanged if len(text) >= MIN_CHARACTERS]
    for text in specific[:AROUND]:
        yield digest(Line("RIGHT", 0, " ", f"{edge} {text}"))
    side = unchanged[:AROUND]
    if len(side) < AROUND or len({*side} & {*specific}) > 1:
        yield f"={digest(Line('RIGHT', 0, ' ', ' '.join((edge, *side))))[1:]}"


def _is_same_place(one: frozenset[str], other: frozenset[str]) -> bool:
    """Return True if all lines on one side are the same, or enough of those on both."""
    if not one or not other:
        return one == other
    shared = one & other
    is_same_side = any(digest.startswith("=") for digest in shared)
    return is_same_side or len(shared) >= MIN_SHARED or 2 * len(shared) > min(len(one), len(other))


def _digest_redacted(line: Line) -> str:
    return _digest(replace(line, text=redact(line.text)))


def _digest(line: Line) -> str:
    text = f"{line.mark}{line.text}{'' if line.lacks_newline else chr(10)}"
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARACTERS]


def _parse(stored: str) -> _Reviewed:
    lines, _, around = stored.partition(":")
    return _Reviewed(_split_digests(lines), frozenset(_split_digests(around)))


def _split_digests(text: str) -> tuple[str, ...]:
    return tuple(text[start : start + DIGEST_CHARACTERS] for start in range(0, len(text), DIGEST_CHARACTERS))


def _find_new_lines(old: Sequence[tuple[str, ...]], new: Sequence[_Block]) -> Iterator[tuple[_Block, int]]:
    before = [(number, digest) for number, block in enumerate(old) for digest in block]
    after = [(block, index) for block in new for index in range(len(block.digests))]
    one, other = [digest for _, digest in before], [block.digests[index] for block, index in after]
    head = _common_length(one, other)
    tail = _common_length(one[head:][::-1], other[head:][::-1])
    one, other = one[head : len(one) - tail], other[head : len(other) - tail]
    if len(one) * len(other) > MAX_COMPARED:
        yield from after[head : head + len(other)]
        return
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if tag != "equal":
            yield from after[head + j1 : head + j2]
        if tag == "delete":
            first, last = head + i1, head + i2
            if first and before[first - 1][0] == before[first][0]:
                yield after[head + j1 - 1]
            if last < len(before) and before[last][0] == before[last - 1][0]:
                yield after[head + j1]


def _common_length(one: Sequence[str], other: Sequence[str]) -> int:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length
