"""Sections of the repository's documentation in prompts, and answers that quote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hls_handler.analysis import AnsweringReply, IssueAnalysis, ReplyFields, Source, estimate_tokens
from hls_handler.github.links import permalink
from hls_handler.handlers.job import Replies
from hls_handler.handlers.reader import StoredSection
from hls_handler.untrusted.cleaning import clean_and_redact
from hls_handler.wording import count

WITHHELD = (
    "the answer was left out, because its quote does not occur once in the section that it names"
)


@dataclass(frozen=True, slots=True)
class DocumentSection:
    path: str
    title: str  # the headings above it and its own: "Setup > Install"
    text: str
    url: str  # of its lines at the commit that was read


@dataclass(frozen=True, slots=True)
class QuotedSection:
    """A quote of Claude's reply, and the section that contains it."""

    quote: str
    path: str
    title: str
    url: str  # "" if it is unknown


def view_sections(sections: Sequence[StoredSection], html_url: str) -> tuple[DocumentSection, ...]:
    """Return sections for the prompt. `html_url` is that of the issue or pull request with the
    question.
    """
    return tuple(
        DocumentSection(
            section.path,
            section.title,
            section.text,
            permalink(html_url, section.commit, section.path, section.end_line, start=section.line),
        )
        for section in sections
    )


def describe_sections(sections: Sequence[DocumentSection]) -> str:
    """Return a sentence part for `hls why`: "2 sections of docs/setup.md and README.md (about 900
    tokens)".
    """
    if not sections:
        return ""
    paths = " and ".join(dict.fromkeys(section.path for section in sections))
    tokens = sum(estimate_tokens(section.text) for section in sections)
    return f"{count(len(sections), 'section')} of {paths} (about {tokens} tokens)"


def list_quoted(
    reply: ReplyFields, sections: Sequence[DocumentSection]
) -> tuple[QuotedSection, ...]:
    """Return the quotes of a reply that the sections contain."""
    if not isinstance(reply, AnsweringReply):
        return ()
    quoted: list[QuotedSection] = []
    for source in reply.sources:
        if _is_quoted(source, sections):
            section = sections[source.number - 1]
            quoted.append(QuotedSection(source.quote, section.path, section.title, section.url))
    return tuple(quoted)


def keep_proved_answers(replies: Replies, sections: Sequence[DocumentSection]) -> Replies:
    """Return the answers without quotes that the section does not contain.

    An answer that loses all of its quotes is left out, because nothing shows that it is true of
    this project.
    """
    proved = tuple(
        replace(reply, fields=_keep_proved(reply.fields, sections)) for reply in replies.all
    )
    pairs = zip(replies.all, proved, strict=True)
    is_withheld = any(
        _has_sources(old.fields) and not _has_sources(new.fields) for old, new in pairs
    )
    left_out = replies.left_out
    if is_withheld:
        left_out = "; ".join(filter(None, [left_out, WITHHELD]))
    return replace(replies, all=proved, left_out=left_out)


def _has_sources(reply: ReplyFields) -> bool:
    return isinstance(reply, AnsweringReply) and bool(reply.sources)


def _keep_proved(reply: ReplyFields, sections: Sequence[DocumentSection]) -> ReplyFields:
    if not isinstance(reply, AnsweringReply):
        return reply
    proved = [source for source in reply.sources if _is_quoted(source, sections)]
    if len(proved) == len(reply.sources):
        return reply
    changes: dict[str, object] = {"sources": proved}
    if not proved:
        changes[reply.answer_field] = ""
        changes["worth_saying"] = (
            reply.worth_saying and isinstance(reply, IssueAnalysis) and bool(reply.missing)
        )
    return reply.model_copy(update=changes)


def _is_quoted(source: Source, sections: Sequence[DocumentSection]) -> bool:
    if not 1 <= source.number <= len(sections):
        return False
    return contains_quote(sections[source.number - 1].text, source.quote)


def contains_quote(text: str, quote: str) -> bool:
    """Return True if a quote that Claude copied from its prompt occurs once in a text. White space
    does not count.

    What occurs often, such as a single word, proves nothing.
    """
    copied = as_one_line(quote)
    return bool(copied) and as_one_line(text).count(copied) == 1


def as_one_line(text: str) -> str:
    return " ".join(clean_and_redact(text).split())
