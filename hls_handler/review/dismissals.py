"""Dismissals: how people say in the thread of a finding that it is not to be fixed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, cast

from hls_handler.untrusted.command_line import COMMAND_LINE, read_command_line

if TYPE_CHECKING:  # its models are slow to import, and the store needs the names of this module
    from hls_handler.github.values import ReviewThread, ThreadReply

FIXED = "fixed"
"""Beginning of the key of a reply in the thread of a finding that is closed (`EnsureReply.key`)."""

OPEN_AGAIN = "open"
"""Beginning of the key of a reply in the thread of a finding that is open again."""

HINT = "hint"
"""Key of the reply to a person whose reply may be meant as a dismissal."""

STILL_THERE = "still-there"
"""Key of the reply in a thread that a person resolved although its finding is still there."""

COMMAND = "command "
"""Beginning of the key of a dismissal by `/dismiss`: "command 1a2b3c4d by mona", with the GUID of
the command.
"""

DELETED = "deleted "
"""Beginning of the key of a dismissal by deleting the finding's comment: "deleted 1a2b3c4d by
mona".
"""

UNDISMISSED = "undismissed "
"""Beginning of the key of `/undismiss`, which makes the dismissals before it void: "undismissed
1a2b3c4d by mona".
"""

RESOLVED = "resolved by "
"""Beginning of the key of a dismissal by a resolved thread: "resolved by mona"."""

WORDS = "words "
"""Beginning of the key of a dismissal by a reply: "words 2 by mona"."""

HOW = {
    COMMAND: "command",
    DELETED: "deleted comment",
    RESOLVED: "resolved thread",
    "thumbs down": "thumbs down",
}
"""How a person dismissed a finding, by the beginning of the key. All others are replies."""

ReplyKind = Literal["dismissal", "objection", "unclear"]
"""What a reply says of a finding: it is not to be fixed; it is to be fixed, although it was
dismissed; it may be a dismissal.
"""

_SKIPPED = (
    r"(?:@[\w-]+(?:\[bot\])?[,:]?\s+)?"
    r"(?:(?:agreed|you(?:'| a)re right|ok(?:ay)?)\b[\s,.;:!\u2013\u2014-]*)*"
    "(?:(?:this|it|that)(?: is|'s)(?: an?)? )?"
)
_OPENING = (
    "(?:(?:won'?t[ -]?|will not )fix|false positive|not (?:a bug|an issue)"
    "|(?:work(?:s|ing) )?as intended|out of scope|not applicable|accepted risk)"
)
_STRICT = "(?:intended|intentional|by design)"
_FOLLOWING = "(?: (?:this|it|here|(?:in|for) this pr|for now|behaviou?r))*"
_NO_QUESTION = r"(?![^.!\n]*\?)"  # in the same sentence
_STOP = r"(?:\s*(?:[.:](?!\w)|$)|\s+because\b)"
_END = rf"(?:{_STOP}|\s*(?:[^\w\s?.:!/-]|!(?!\?))|\s+-)"
_DENIAL = (
    "(?:i disagree|(?:this|it|that)(?:(?: is|'s)(?: a)? "
    rf"(?:{_OPENING}|{_STRICT}|wrong|not a problem)| isn't an? (?:bug|issue|problem)))"
)
_OBJECTION = r"(?:please fix|please don't dismiss)\b"
_REPLY = re.compile(
    rf"\s*{_SKIPPED}(?:"
    rf"(?P<dismissal>{_OPENING}{_FOLLOWING}{_NO_QUESTION}{_END}"
    rf"|{_STRICT}{_FOLLOWING}{_NO_QUESTION}{_STOP})"
    rf"|(?P<objection>(?:no, )?{_OBJECTION})"
    rf"|(?P<unclear>(?:{_OPENING}|{_STRICT})\b|{_DENIAL}{_END}))",
    re.IGNORECASE | re.MULTILINE,
)
_TAKEN_BACK = re.compile(_OBJECTION, re.IGNORECASE)
_NOT_READ = re.compile(r"^[ \t]*>.*$|[*_]", re.MULTILINE)  # quoted lines, emphasis

MAX_READ_CHARS = 4_000
"""The beginning of a reply that is read: of a long one the search could take a second."""


def read_reply(text: str) -> ReplyKind | None:
    """Return what the first words of a reply in the thread of a finding say of it; None if they
    are no fixed words.
    """
    words = _NOT_READ.sub("", text[:MAX_READ_CHARS]).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    match = _REPLY.match(words)
    if match is None:
        return None
    if match["dismissal"] and _TAKEN_BACK.search(words, match.end()):
        return "unclear"
    return cast("ReplyKind", match.lastgroup)


def describe_dismissal(key: str) -> str:
    """Return how a person dismissed a finding, from the key of the dismissal: "reply"."""
    return next((how for beginning, how in HOW.items() if key.startswith(beginning)), "reply")


def find_dismissals(thread: ReviewThread) -> Mapping[str, str]:
    """Return the logins of people who dismissed the finding of this thread, by a key such as "words
    2 by mona".

    Resolving a thread in which HLS said that the finding is fixed dismisses nothing, also if the
    finding is open again.
    """
    logins: dict[str, str] = {}
    was_fixed = any(key.startswith(FIXED) for key in thread.own_replies)
    if thread.is_resolved and thread.resolved_by and not was_fixed:
        logins[f"{RESOLVED}{thread.resolved_by}"] = thread.resolved_by
    logins |= {f"thumbs down by {login}": login for login in thread.thumbs_down}
    for key, reply in _number_replies(thread):
        if _read_in_thread(reply.body) == "dismissal":
            logins[key] = reply.author
    return {key: login for key, login in logins.items() if not login.endswith("[bot]")}


def list_objectors(thread: ReviewThread) -> frozenset[str]:
    """Return the logins of people who took a dismissal back, or objected to one."""
    return frozenset(
        reply.author for reply in thread.replies if _read_in_thread(reply.body) == "objection"
    )


def find_taken_back(thread: ReviewThread, writers: Collection[str]) -> tuple[str, ...]:
    """Return the keys of dismissals by replies that a later reply of the same person or of a writer
    takes back.
    """
    dismissed: list[str] = []
    void: list[str] = []
    for key, reply in _number_replies(thread):
        said = _read_in_thread(reply.body)
        if said == "dismissal":
            dismissed.append(key)
        elif said == "objection":
            void += [
                one
                for one in dismissed
                if reply.author in writers or one.endswith(f" by {reply.author}")
            ]
    return tuple(dict.fromkeys(void))


def _number_replies(thread: ReviewThread) -> Iterator[tuple[str, ThreadReply]]:
    """Yield the replies with their keys: "words 2 by mona"."""
    numbers: Counter[str] = Counter()
    for reply in thread.replies:
        numbers[reply.author] += 1
        yield f"{WORDS}{numbers[reply.author]} by {reply.author}", reply


def _read_in_thread(text: str) -> ReplyKind | None:
    """Return what a reply says, also by `/dismiss` or `/undismiss` without a number, which may be
    another finding's.
    """
    addressed, line = read_command_line(text)
    match = COMMAND_LINE.fullmatch(line)
    if match is None or addressed or match[2] is not None:
        return read_reply(text)
    kinds: Mapping[str, ReplyKind] = {"dismiss": "dismissal", "undismiss": "objection"}
    return kinds.get(match[1])
