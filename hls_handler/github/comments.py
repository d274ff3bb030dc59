"""Finds the bot's comments on a conversation by author and marker. Creates and edits them: one for
each `family`; decides what a comment contains after people edited it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from hls_handler.actions import (
    COMMENT_CREATED,
    COMMENT_EDITED,
    COMMENT_UP_TO_DATE,
    EnsureComment,
    Outcome,
    StoredComment,
)
from hls_handler.events import Account, Comment, Text
from hls_handler.github.api import RepositoryApi, parse, validate
from hls_handler.github.errors import Refused
from hls_handler.github.labels import NO_ORIGINS, LabelOrigin, LabelState

if TYPE_CHECKING:
    from github.Repository import Repository


import hashlib
import re
from collections import Counter
from typing import Literal

from hls_handler.untrusted.cleaning import ZERO_WIDTH_SPACE
from hls_handler.untrusted.markdown import sanitize_blocks

MAX_COMMENT_CHARS = 65_536  # GitHub's limit for a comment, in characters

TRUNCATION_NOTE = (
    "*The middle of this comment was left out: GitHub shows 65,536 characters at most.*"
)

MAX_FOOTER_CHARS = 4_000  # a last paragraph of at most this many characters is kept as the footer


def truncate_comment(body: str, max_chars: int, *, note: str = TRUNCATION_NOTE) -> str:
    """Return `body`. If it is longer than `max_chars`, return its first lines, `note` and its last
    paragraph.

    A last paragraph of more than `MAX_FOOTER_CHARS` is left out. `max_chars` must be at least
    several thousand. This is the last resort: templates of comments shorten themselves
    (`render_comment`).
    """
    if len(body) <= max_chars:
        return body
    _, _, footer = body.rpartition("\n\n")
    tail = f"\n\n{note}\n\n"
    if len(footer) <= MAX_FOOTER_CHARS:
        tail += footer
    head = body[: max_chars - len(tail)]
    cut = head.rfind("\n")
    if cut > len(head) // 2:
        head = head[:cut]
    return head + tail


_FENCE = re.compile(r"^ {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_ITEM = re.compile(
    r"(?P<before>[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\[)(?P<box>[ xX])"
    r"(?P<after>\][ \t]+(?P<text>\S.*))"
)
"""Matches a line such as "- [ ] Run the migration". Quoted lines do not match: they are somebody
else's list.
"""


def copy_checked_boxes(older: str, newer: str) -> str:
    """Check the task list items of `newer` that are checked in `older`, and return the text. No
    check is removed.

    Items match by text, apart from white space; the second item with a text matches the second one.
    If `newer` differs from `older` only by missing checks, the result is `older`. Boxes in code
    blocks are ignored.
    """
    lines = newer.split("\n")
    checked = {item: box for item, (_, box) in _find_boxes(older).items() if box != " "}
    for item, (index, box) in _find_boxes(newer).items():
        if box == " " and item in checked:
            lines[index] = _ITEM.sub(rf"\g<before>{checked[item]}\g<after>", lines[index], count=1)
    return "\n".join(lines)


def list_boxes(text: str) -> dict[str, bool]:
    """Map the text of each task list item to True if it is checked. Of equal ones, the last
    counts.
    """
    return {item: box != " " for (item, _), (_, box) in _find_boxes(text).items()}


def _find_boxes(text: str) -> Mapping[tuple[str, int], tuple[int, str]]:
    """Map the text of each task list item, and its number among equal ones, to line index and
    box.
    """
    boxes: dict[tuple[str, int], tuple[int, str]] = {}
    times = Counter[str]()
    fence: str | None = None
    for index, line in enumerate(text.split("\n")):
        mark = _FENCE.match(line)
        if mark is not None:
            if fence is None:
                fence = mark[1]
            elif mark[1].startswith(fence) and line.strip() == mark[1]:
                fence = None
        item = _ITEM.match(line)
        if fence is None and item is not None:
            words = " ".join(item["text"].split())
            boxes[words, times[words]] = index, item["box"]
            times[words] += 1
    return boxes


MAX_SECTION_CHARS = 20_000
"""Limit for the text of one section, in characters: three of the longest fit into one comment."""

SECTION_TRUNCATED = (
    "*The middle of this part was left out: GitHub shows 65,536 characters of a comment at most.*"
)
OLDER_LEFT_OUT = (
    "*Older parts of this comment were left out: GitHub shows 65,536 characters at most.*"
)

RESOLVED = "Everything that was listed here is resolved"
"""Beginning of a comment whose last section was removed. HLS does not delete comments."""

_MARK_PREFIX = "<!-- hls:"
# never equal to a marker, because no `EnsureComment.family` has a space
_END_MARK = "<!-- hls:sections end -->"
_KEY = r"[A-Za-z0-9-]{1,100}"
_MARK = re.compile(
    rf"^[ \t\r]*<!-- hls:(?:section (?P<key>{_KEY})(?: (?P<digest>[0-9A-Za-z]{{0,64}}))?"
    r"|sections end) -->[ \t\r]*$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class CommentSection:
    """The text in the bot's comment that one source writes, such as a reviewer or a workflow."""

    # `digest_of` the text last requested by the source; "" if a person damaged the mark
    digest: str
    text: str  # as it is in the comment, without surrounding newlines


Sections = Mapping[str, CommentSection]
"""The sections of one comment, oldest first, by keys of letters, digits and hyphens:
"reviewer-21031067".
"""


def section_text(body: str) -> str:
    """Return `body`, truncated. Marks of sections, which a template might contain, are made invalid
    with U+200B.
    """
    return truncate_comment(_without_marks(body), MAX_SECTION_CHARS, note=SECTION_TRUNCATED).strip(
        "\r\n"
    )


def digest_of(text: str) -> str:
    """Return the first 16 hexadecimal digits of the text's SHA-256, to detect changes."""
    return _digest(text)[:16]


def parse_sections(body: str, *, marker: str) -> dict[str, CommentSection]:
    """Return the sections of a comment, even if people edited it. `marker` is the last line: "<!--
    hls:issues -->".
    """
    body = body.rstrip().removesuffix(marker)
    marks = list(_MARK.finditer(body))
    ends = [*(mark.start() for mark in marks), len(body)][1:]
    sections: dict[str, CommentSection] = {}
    for mark, end in zip(marks, ends, strict=True):
        if mark["key"] is not None:
            sections.setdefault(
                mark["key"],
                CommentSection(mark["digest"] or "", body[mark.end() : end].strip("\r\n")),
            )
    return sections


def render_sections(
    sections: Sections, *, newest: str, footer: str, marker: str, removed: str = ""
) -> str:
    """Return the whole comment. If it exceeds GitHub's limit, the oldest sections are dropped, and
    a line says so. Without sections, it lists what was in the `removed` one.

    The section with the key `newest` is never dropped. Its text must come from `section_text`,
    which limits the length.
    """
    footer = truncate_comment(
        _without_marks(footer), MAX_FOOTER_CHARS, note=SECTION_TRUNCATED
    ).strip("\r\n")
    end = f"\n{marker}"
    if footer:
        end = f"\n\n{_END_MARK}\n{footer}{end}"
    parts = {
        key: f"{_mark(key, section.digest)}\n{section.text}" for key, section in sections.items()
    }
    body = "\n\n".join(parts.values() or [_describe_resolved(removed)]) + end
    while len(body) > MAX_COMMENT_CHARS and parts.keys() - {newest}:
        del parts[next(key for key in parts if key != newest)]
        body = "\n\n".join([OLDER_LEFT_OUT, *parts.values()]) + end
    return body


def _describe_resolved(removed: str) -> str:
    """Return a sentence with the task list items of a section, or else with its first line.

    People may have edited the text. What HLS wrote is sanitized already and stays as it is.
    """
    text = section_text(removed)
    items = list(list_boxes(text)) or text.split("\n")[:1]
    if items == [""]:
        return f"{RESOLVED}."
    lines = [" ".join(sanitize_blocks(item).split()) for item in items]
    return "\n".join([f"{RESOLVED}:", "", *(f"- {line}" for line in lines)])


def _mark(key: str, digest: str) -> str:
    if re.fullmatch(_KEY, key) is None:
        raise ValueError(
            f"invalid section key {key!r}: expected 1 to 100 letters, digits and hyphens"
        )
    if digest:
        key += f" {digest}"
    return f"{_MARK_PREFIX}section {key} -->"


def _without_marks(text: str) -> str:
    return text.replace(_MARK_PREFIX, f"<!-- hls{ZERO_WIDTH_SPACE}:")


@dataclass(frozen=True, slots=True)
class BodyDecision:
    change: Literal["changed", "unchanged", "edited by a person"]  # only "changed" is written
    # the whole comment with its marks: the new body, or the current one if nothing is written
    body: str
    # to store: SHA-256 in hex of the requested body or, with sections, of the whole comment
    digest: str


def marker(family: str) -> str:
    return f"<!-- hls:{family} -->"


def decide_body(
    action: EnsureComment, current_body: str | None, *, last_digest: str | None
) -> BodyDecision | None:
    """Return the new or unchanged body. None if no comment or section exists and `action.create` is
    False.

    `current_body` is the comment's body on GitHub, None if there is no comment. `last_digest` is
    the stored digest of the last requested body. It is ignored for a section, because the comment
    contains the digest of each section. A section whose requested text is empty is removed.
    """
    if action.section is not None:
        return _decide_section(action, action.section, current_body)
    requested = requested_body(action)
    digest = _digest(requested)
    if current_body is None:
        if not action.create:
            return None
        return BodyDecision("changed", requested, digest)
    body = copy_checked_boxes(current_body, requested)
    if _normalize(current_body) == _normalize(body):
        return BodyDecision("unchanged", body, digest)
    if last_digest == digest:
        return BodyDecision("edited by a person", current_body, digest)
    return BodyDecision("changed", body, digest)


def is_last_written(action: EnsureComment, last_digest: str) -> bool:
    """Return True if the requested body is the last requested one; always False for a section."""
    return action.section is None and _digest(requested_body(action)) == last_digest


def is_as_written(body: str, last_digest: str) -> bool:
    """Return True if a comment without sections is as HLS wrote it."""
    return _digest(body.replace("\r\n", "\n")) == last_digest


def requested_body(action: EnsureComment) -> str:
    """Return the whole comment that the action requests, with the marker, as long as GitHub
    allows.
    """
    mark = f"\n{marker(action.family)}"
    return truncate_comment(action.body, MAX_COMMENT_CHARS - len(mark)) + mark


def _decide_section(
    action: EnsureComment, key: str, current_body: str | None
) -> BodyDecision | None:
    mark = marker(action.family)
    sections = parse_sections(current_body or "", marker=mark)
    current = sections.get(key)
    requested = section_text(action.body)
    if current_body is not None:
        unchanged = BodyDecision("unchanged", current_body, _digest(current_body))
        if not requested.strip():
            if current is None:
                return unchanged
            del sections[key]
            return _written(action, sections, removed=current.text)
        if current is not None:
            text = copy_checked_boxes(current.text, requested)
            if _normalize(current.text) == _normalize(text):
                return unchanged
            if current.digest == digest_of(requested):
                return replace(unchanged, change="edited by a person")
            return _written(action, {**sections, key: CommentSection(digest_of(requested), text)})
    if not action.create:
        return None
    return _written(action, {**sections, key: CommentSection(digest_of(requested), requested)})


def _written(action: EnsureComment, sections: Sections, *, removed: str = "") -> BodyDecision:
    body = render_sections(
        sections,
        newest=action.section or "",
        footer=action.footer,
        marker=marker(action.family),
        removed=removed,
    )
    return BodyDecision("changed", body, _digest(body))


def _normalize(body: str) -> str:
    return body.replace("\r\n", "\n").strip()  # GitHub's editor writes CRLF


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()


MAX_PAGES = 100  # only the first 10,000 comments of a conversation are searched


class History(Protocol):
    """The bot's stored labels and comments on one conversation; `store.conversations` implements
    it.
    """

    def labels(self) -> Mapping[str, LabelState]: ...

    def change_labels(
        self,
        names: Iterable[str],
        state: LabelState | None,
        origins: Mapping[str, LabelOrigin] = NO_ORIGINS,
    ) -> None: ...

    def was_done_once(self) -> bool: ...

    def record_done_once(self) -> None: ...

    def forget_done_once(self) -> None: ...

    def comment(self, family: str) -> StoredComment | None: ...

    def store_comment(self, family: str, comment: StoredComment) -> None: ...


@dataclass(frozen=True, slots=True)
class Written:
    """A comment or a check run that HLS has written."""

    id: int
    html_url: Text
    external_id: str | None = None  # of a check run


class BotComments:
    """Writes the bot's comments in one repository. Without a `guard`, it only reports what it would
    write.
    """

    def __init__(
        self,
        api: RepositoryApi,
        *,
        bot: Account,
        history: History,
    ) -> None:
        self._api = api
        self._bot = bot
        self._history = history

    def ensure_comment(
        self, number: int, action: EnsureComment, *, may_exist: bool = True
    ) -> Outcome:
        """Write the comment if needed, store its id and digest in the history, and return the
        outcome.

        Sends no request if the text is that of the last write. Reads one comment if its id is
        stored and the bot wrote it. Otherwise, and if `may_exist`, the conversation's comments are
        listed, 100 with each request.
        """
        stored = self._history.comment(action.family)
        if stored is not None and is_last_written(action, stored.body_digest):
            # Nothing is written even if a person edited or deleted it.
            self._store(action, stored, replace(stored, state=action.state))
            body = requested_body(action)
            return Outcome(
                "comment", "unchanged", COMMENT_UP_TO_DATE, comment_id=stored.comment_id, body=body
            )
        mark = marker(action.family)
        comment = None
        if stored is not None:
            comment_id = stored.comment_id
            comment = self._api.find(
                lambda it: parse(Comment, it.get_issue(number).get_comment(comment_id).complete())
            )
            if comment is None:
                return _declined(
                    "a person deleted our comment: it is not posted again", stored.comment_id
                )
            if is_by(comment.user, self._bot) and not _ends_with(comment, mark):
                return _declined(
                    "a person removed our marker from our comment: it is not edited any more",
                    comment.id,
                )
            if not is_by(comment.user, self._bot):
                comment = None  # another account wrote it, when HLS had that account's token
        if comment is None and (may_exist or stored is not None):
            comment = self._find_oldest(number, mark)
        if comment is None:
            decision = decide_body(action, None, last_digest=None)
            if decision is None:
                nothing = "nothing worth saying, and no existing comment to update"
                return Outcome("comment", "withheld", nothing)
            return self._write(number, action, decision, None)
        last_digest = None
        if stored is not None and stored.comment_id == comment.id:
            last_digest = stored.body_digest
        decision = decide_body(action, comment.body, last_digest=last_digest)
        if decision is None:
            nothing = "nothing worth saying, and no existing section to update"
            return Outcome(
                "comment", "withheld", nothing, comment_id=comment.id, url=comment.html_url
            )
        is_edited = last_digest is None or not is_as_written(comment.body, last_digest)
        if action.is_withdrawal and decision.change == "changed" and is_edited:
            return _declined("a person edited our comment: it stays", comment.id)
        if decision.change == "changed":
            return self._write(number, action, decision, comment.id)
        digest = decision.digest
        if action.section is not None and last_digest is not None:
            digest = last_digest
        self._store(action, stored, StoredComment(comment.id, digest, action.state))
        detail = COMMENT_UP_TO_DATE
        if decision.change == "edited by a person":
            detail = "a person edited our comment, and there is nothing new to write"
        return Outcome(
            "comment",
            "unchanged",
            detail,
            comment_id=comment.id,
            url=comment.html_url,
            body=decision.body,
        )

    def _find_oldest(self, number: int, mark: str) -> Comment | None:
        comments = self._api.items(
            lambda it: it.get_issue(number).get_comments(), Comment, max_pages=MAX_PAGES
        )
        # Other people can write `mark`, and the account can write other comments (SECURITY.md rule
        # 16).
        return next(
            (
                comment
                for comment in comments
                if is_by(comment.user, self._bot) and _ends_with(comment, mark)
            ),
            None,
        )

    def _write(
        self, number: int, action: EnsureComment, decision: BodyDecision, comment_id: int | None
    ) -> Outcome:
        """Create the comment, or edit that with the id."""
        if self._api.guard is None:
            detail = "would have edited our comment"
            if comment_id is None:
                detail = "would have commented"
            return Outcome("comment", "dry_run", detail, comment_id=comment_id, body=decision.body)
        outcome = Outcome("comment", "created", COMMENT_CREATED)
        expected: tuple[int, ...] = ()
        if comment_id is not None:
            outcome = Outcome("comment", "edited", COMMENT_EDITED)
            expected = (404, 410)

        def write(repository: Repository) -> Written:
            issue = repository.get_issue(number)
            if comment_id is None:
                return parse(Written, issue.create_comment(decision.body))
            comment = issue.get_comment(comment_id)
            comment.edit(decision.body)
            return validate(Written, {"id": comment_id, "html_url": comment.html_url})

        try:
            written = self._api.write(write, expected=expected)
        except Refused:
            assert comment_id is not None
            return _declined(
                "a person has just deleted our comment: it is not posted again", comment_id
            )
        self._history.store_comment(
            action.family, StoredComment(written.id, decision.digest, action.state)
        )
        return replace(outcome, comment_id=written.id, url=written.html_url, body=decision.body)

    def _store(
        self, action: EnsureComment, before: StoredComment | None, comment: StoredComment
    ) -> None:
        if comment != before and self._api.guard is not None:
            self._history.store_comment(action.family, comment)


def _declined(detail: str, comment_id: int) -> Outcome:
    return Outcome("comment", "declined", detail, comment_id=comment_id)


def is_by(author: Account, bot: Account) -> bool:
    if bot.id == 0:  # a GitHub App, whose account's id is not known
        return author.login.lower() == bot.login.lower()
    return author.id == bot.id  # a renamed account keeps its id


def _ends_with(comment: Comment, mark: str) -> bool:
    return comment.body.rstrip().endswith(mark)
