"""Finds the title, body, patches and log in a prompt, for the stand-in Claude."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hls_handler.review.patches import Line, parse_numbered

UNTRUSTED = re.compile(r"<untrusted ([0-9A-Za-z]+)>(.*?)</untrusted \1>", re.DOTALL)
NUMBERED = re.compile(r"^[LR] +\d+ [-+ ]", re.MULTILINE)
OTHER_PLACES = "\nOther places of the repository"
"""Begins what a prompt shows besides the patches."""
EARLIER = re.compile(r"^Finding (\d+), ", re.MULTILINE)
COMMENT = re.compile(r"^Comment (\d+), on ", re.MULTILINE)
LOG_LINE = re.compile(r"^ *\d+\| ?(.*)$", re.MULTILINE)
EVENT = re.compile(r"^The event: (\S+), by ", re.MULTILINE)
FIELD_LABELS = (
    re.compile(r"\b(?:message|title|body|description|state):$"),
    re.compile(r"\b(?:name|tag_name|ref):$"),
)
"""Patterns of the names of an event's most informative fields; the second is used if no field
matches the first.
"""
BODY_WORDS = ("body", "description", "report", "text")


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

    @property
    def added(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.mark == "+")

    @property
    def removed(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.mark == "-")


@dataclass(frozen=True, slots=True)
class Note:
    """The text of a review, or the text of one of its comments."""

    comment: int | None  # its number in the prompt; None for the review as a whole
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The texts of a prompt. A text that the prompt does not contain is empty or None."""

    title: str
    body: str
    patches: tuple[PatchOfFile, ...]
    notes: tuple[Note, ...] = ()  # texts of a review
    log: tuple[str, ...] | None = (
        None  # log lines without their numbers; None: the prompt is not about a workflow
    )
    changed: tuple[str, ...] = ()  # paths of files that are listed without patches
    commits: tuple[str, ...] | None = (
        None  # messages of commits; None: the prompt is not about a release
    )
    comment: str = ""  # the comment to answer
    wants_to_start: bool = False  # the comment asks how to start to work on the issue
    before: tuple[str, ...] = ()  # earlier comments
    earlier: tuple[tuple[int, str], ...] = ()  # number and quoted line of each earlier finding
    event: str = ""  # "push"; "" unless the prompt lists the fields of an event
    texts: tuple[str, ...] = ()  # untrusted texts in the fields of the event

    @property
    def conversation_text(self) -> str:
        """The body and the earlier comments, without the comment to answer."""
        return "\n\n".join((self.body, *self.before))

    @property
    def words(self) -> str:
        """Title and body in lower case."""
        return f"{self.title}\n{self.body}".lower()


def read_request(body: Mapping[str, Any]) -> Reading:
    """Return the texts in the user messages of a valid request to the Messages API."""
    text = "\n\n".join(
        text_of(message["content"]) for message in body["messages"] if message["role"] == "user"
    )
    blocks = [
        Block(label=_label(text, found.start()), text=found[2].strip("\n"), start=found.start())
        for found in UNTRUSTED.finditer(text)
    ]
    patched = [block for block in blocks if NUMBERED.search(block.text)]
    places = text.find(OTHER_PLACES)
    changed = [block for block in patched if places < 0 or block.start < places]
    prose = [block for block in blocks if block not in patched]
    title = next((block for block in prose if "title" in block.label), None)
    report = next(
        (block for block in prose if any(word in block.label for word in BODY_WORDS)), None
    )
    if title is None:  # a prompt of another layout
        title = next(
            (block for block in prose if "\n" not in block.text and len(block.text) < 300), None
        )
        others = [block for block in prose if block is not title]
        report = report or max(others, key=lambda block: len(block.text), default=None)
    return Reading(
        title=title.text.strip() if title else first_line(text),
        body=report.text if report else "",
        patches=tuple(_patch(block, blocks, text) for block in changed),
        notes=tuple(_notes(text, blocks)),
        earlier=tuple(_earlier(text, blocks)),
        **_of_other_events(text, blocks),
    )


def _earlier(text: str, blocks: list[Block]) -> Iterator[tuple[int, str]]:
    quotes = [block for block in blocks if block.label.startswith("it was about this line")]
    for block in quotes:
        number = [*EARLIER.finditer(text, 0, block.start)][-1][1]
        yield int(number), block.text


def _of_other_events(text: str, blocks: list[Block]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    logs = [block for block in blocks if LOG_LINE.search(block.text)]
    if logs or re.search(r"^Workflow: ", text, re.MULTILINE):
        found["log"] = tuple(line for block in logs for line in log_lines(block.text))
        head = text.find("\nFiles of the pull request:")
        listed = [
            block
            for block in blocks
            if 0 <= head < block.start and text[: block.start].endswith("\n- ")
        ]
        found["changed"] = tuple(block.text for block in listed)
    if re.search(r"^Release ", text, re.MULTILINE):
        found["commits"] = tuple(_after(text, blocks, "Commits since "))[1:]  # the first is the tag
    answers = _after(text, blocks, "Comments of the author")
    found["before"] = (*_authored(blocks, "comment before"), *answers)
    found["comment"] = next(_authored(blocks, "the comment"), "")
    kinds = [block.text for block in blocks if block.label.startswith("the kind:")]
    found["wants_to_start"] = "how to start" in kinds or "The kind: how to start" in text
    event = EVENT.search(text)
    if event:
        found["event"] = event[1]
        first, second = (
            tuple(block.text for block in blocks if label.search(block.label))
            for label in FIELD_LABELS
        )
        found["texts"] = first or second
    return found


def _after(text: str, blocks: list[Block], head: str) -> Iterator[str]:
    begin = text.find(f"\n{head}")
    end = text.rfind("\n\n")  # the prompt's last paragraph contains only instructions
    return (block.text for block in blocks if begin >= 0 and begin < block.start < end)


def _authored(blocks: list[Block], head: str) -> Iterator[str]:
    return (
        block.text
        for block in blocks
        if block.label.startswith(f"{head}, by ") and block.label.endswith(":")
    )


def log_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a log excerpt without their numbers: "12| Run npm test" becomes "Run npm
    test".
    """
    return tuple(LOG_LINE.findall(text))


def text_of(content: Any) -> str:
    """Return the text of `content`, which is a string, a list of text blocks, or None."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content or ())


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
