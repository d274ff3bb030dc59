"""Reads a request to Claude as its prompt lays it out: which text of strangers is title, body, file or patch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hls_handler.review.patch import Line, parse_numbered

STRANGER = re.compile(r"<stranger ([0-9A-Za-z]+)>(.*?)</stranger \1>", re.DOTALL)
NUMBERED = re.compile(r"^[LR] +\d+ [-+ ]", re.MULTILINE)
COMMENT = re.compile(r"^Comment (\d+), on ", re.MULTILINE)
BODY_WORDS = ("body", "description", "report", "text")


@dataclass(frozen=True, slots=True)
class Block:
    """A stranger's text, with what the prompt says before it."""

    label: str  # the words before it in its line or the line above, in lower case
    text: str
    start: int


@dataclass(frozen=True, slots=True)
class PatchOfFile:
    path: str
    lines: tuple[Line, ...]

    @property
    def added(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.mark == "+")

    @property
    def removed(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.mark == "-")


@dataclass(frozen=True, slots=True)
class Note:
    """What a reviewer wrote: as a whole, or in a comment on lines."""

    comment: int | None  # the number that the prompt gives it
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What the stand-in understood. All of it may be empty: any request gets an answer."""

    title: str
    body: str
    patches: tuple[PatchOfFile, ...]
    notes: tuple[Note, ...] = ()  # of a review

    @property
    def words(self) -> str:
        """Title and body in lower case, for keywords."""
        return f"{self.title}\n{self.body}".lower()


def read_request(body: Mapping[str, Any]) -> Reading:
    """Read the user messages of a checked request."""
    text = "\n\n".join(text_of(message["content"]) for message in body["messages"] if message["role"] == "user")
    blocks = [
        Block(label=_label(text, found.start()), text=found[2].strip("\n"), start=found.start())
        for found in STRANGER.finditer(text)
    ]
    patched = [block for block in blocks if NUMBERED.search(block.text)]
    prose = [block for block in blocks if block not in patched]
    title = next((block for block in prose if "title" in block.label), None)
    told = next((block for block in prose if any(word in block.label for word in BODY_WORDS)), None)
    if title is None:  # a prompt of another layout
        title = next((block for block in prose if "\n" not in block.text and len(block.text) < 300), None)
        others = [block for block in prose if block is not title]
        told = told or max(others, key=lambda block: len(block.text), default=None)
    return Reading(
        title=title.text.strip() if title else first_line(text),
        body=told.text if told else "",
        patches=tuple(_patch(block, blocks, text) for block in patched),
        notes=tuple(_notes(text, blocks)),
    )


def text_of(content: Any) -> str:
    """The text of a message or of a system prompt, given as a string or as blocks."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content or ())


def first_line(text: str) -> str:
    return next((line.strip() for line in text.split("\n") if line.strip()), "")


def _label(text: str, start: int) -> str:
    """The words right before a block: in its line, or else in the last line with words above it."""
    before = text[max(0, start - 300) : start]
    lines = [line for line in before.split("\n") if re.search(r"\w", line)]
    return lines[-1].strip().lower() if lines else ""


def _notes(text: str, blocks: list[Block]) -> Iterator[Note]:
    """The text of a review, and the last block of each paragraph that begins as a comment."""
    whole = next((block for block in blocks if block.label.startswith("the review as a whole")), None)
    if whole is None:
        return
    yield Note(None, whole.text)
    for head in COMMENT.finditer(text):
        end = text.find("\n\n", head.end())
        inside = [block for block in blocks if head.start() < block.start < (end if end >= 0 else len(text))]
        if inside:
            yield Note(int(head[1]), inside[-1].text)


def _patch(block: Block, blocks: list[Block], text: str) -> PatchOfFile:
    """The file is the first block of the paragraph before the patch, or else the last short one before it."""
    before = [other for other in blocks if other.start < block.start and "\n" not in other.text]
    paragraph = text.rfind("\n\n", 0, block.start)
    near = [other for other in before if other.start > paragraph]
    chosen = near[0] if near else before[-1] if before else None
    lines = tuple(line for hunk in parse_numbered(block.text).hunks for line in hunk.lines)
    return PatchOfFile(path=chosen.text.strip() if chosen else "", lines=lines)
