"""Title, patches, log and notes in a prompt, for tests that write replies about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hls_handler.review.patches import Line, parse_numbered

UNTRUSTED = re.compile(r"<untrusted ([0-9A-Za-z]+)>(.*?)</untrusted \1>", re.DOTALL)
NUMBERED = re.compile(r"^[LR] +\d+ [-+ ]", re.MULTILINE)
OTHER_PLACES = "\nOther places of the repository"
"""Begins what a prompt shows besides the patches."""
COMMENT = re.compile(r"^Comment (\d+), on ", re.MULTILINE)
LOG_LINE = re.compile(r"^ *\d+\| ?(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """An untrusted text in a prompt. `label` is what stands before the text, such as "title:"."""

    label: str  # the words before the text in its line or the line above, in lower case
    text: str
    start: int


@dataclass(frozen=True, slots=True)
class PatchOfFile:
    path: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """The text of a review, or the text of one of its comments."""

    comment: int | None  # its number in the prompt; None for the review as a whole
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The texts of a prompt. A text that the prompt does not contain is empty or None."""

    title: str
    patches: tuple[PatchOfFile, ...]
    notes: tuple[Note, ...] = ()  # texts of a review
    log: tuple[str, ...] = ()  # log lines without their numbers
    changed: tuple[str, ...] = ()  # paths of files that are listed without patches


def read_task(text: str) -> Reading:
    """Return the texts in a rendered task."""
    blocks = [
        Block(label=_label(text, found.start()), text=found[2].strip("\n"), start=found.start())
        for found in UNTRUSTED.finditer(text)
    ]
    patched = [block for block in blocks if NUMBERED.search(block.text)]
    places = text.find(OTHER_PLACES)
    changed = [block for block in patched if places < 0 or block.start < places]
    prose = [block for block in blocks if block not in patched]
    title = next((block for block in prose if "title" in block.label), None)
    if title is None:  # a prompt of another layout
        title = next(
            (block for block in prose if "\n" not in block.text and len(block.text) < 300), None
        )
    return Reading(
        title=title.text.strip() if title else first_line(text),
        patches=tuple(_patch(block, blocks, text) for block in changed),
        notes=tuple(_notes(text, blocks)),
        log=tuple(line for block in blocks for line in LOG_LINE.findall(block.text)),
        changed=tuple(_list_changed(text, blocks)),
    )


def _list_changed(text: str, blocks: list[Block]) -> Iterator[str]:
    head = text.find("\nFiles of the pull request:")
    for block in blocks:
        if 0 <= head < block.start and text[: block.start].endswith("\n- "):
            yield block.text


def first_line(text: str) -> str:
    return next((line.strip() for line in text.split("\n") if line.strip()), "")


def _label(text: str, start: int) -> str:
    before = text[max(0, start - 300) : start]
    lines = [line for line in before.split("\n") if re.search(r"\w", line)]
    return lines[-1].strip().lower() if lines else ""


def _notes(text: str, blocks: list[Block]) -> Iterator[Note]:
    whole = next(
        (block for block in blocks if block.label.startswith("the review as a whole")), None
    )
    if whole is None:
        return
    yield Note(None, whole.text)
    for head in COMMENT.finditer(text):
        end = text.find("\n\n", head.end())
        inside = [
            block
            for block in blocks
            if head.start() < block.start < (end if end >= 0 else len(text))
        ]
        if inside:
            yield Note(int(head[1]), inside[-1].text)


def _patch(block: Block, blocks: list[Block], text: str) -> PatchOfFile:
    before = [other for other in blocks if other.start < block.start and "\n" not in other.text]
    paragraph = text.rfind("\n\n", 0, block.start)
    near = [other for other in before if other.start > paragraph]  # in the paragraph of the patch
    chosen = near[0] if near else before[-1] if before else None
    lines = tuple(line for hunk in parse_numbered(block.text).hunks for line in hunk.lines)
    return PatchOfFile(path=chosen.text.strip() if chosen else "", lines=lines)
