"""Compares the requested body of the bot's comment with its current body, and decides the new body; pure.

A checkbox that a person checks must never cause a write. Therefore the requested body is compared with the last
requested one by digest, without checked boxes; and the current body is compared with the new one after the checked
boxes were copied into it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from hls_handler.actions import EnsureComment
from hls_handler.clients.clamp import MAX_COMMENT_CHARS, truncate_comment
from hls_handler.clients.sections import Section, Sections, digest_of, parse_sections, render_sections, section_text
from hls_handler.clients.ticks import copy_checked_boxes


@dataclass(frozen=True, slots=True)
class BodyDecision:
    change: Literal["changed", "unchanged", "edited by a person"]  # only "changed" is written
    body: str  # the whole comment with its marks: the new body, or the current one if nothing is written
    digest: str  # for the memory; SHA-256 in hex


def marker(family: str) -> str:
    return f"<!-- hls:{family} -->"


def decide_body(action: EnsureComment, current_body: str | None, *, last_digest: str | None) -> BodyDecision | None:
    """Decide the body; None if the action creates no comment or section and there is none to update.

    `current_body` is the current body of the comment, `last_digest` the digest that the memory has for it.
    """
    if action.section is not None:
        return _decide_section(action, action.section, current_body)
    return _decide_whole(action, current_body, last_digest=last_digest)


def _normalize(body: str) -> str:
    """Normalize line ends, because GitHub's editor writes CRLF, and strip the text."""
    return body.replace("\r\n", "\n").strip()


def _decide_whole(action: EnsureComment, current_body: str | None, *, last_digest: str | None) -> BodyDecision | None:
    mark = f"\n{marker(action.family)}"
    requested = truncate_comment(action.body, MAX_COMMENT_CHARS - len(mark)) + mark
    digest = _digest(requested)
    if current_body is None:
        return BodyDecision("changed", requested, digest) if action.create else None
    body = copy_checked_boxes(current_body, requested)
    if _normalize(current_body) == _normalize(body):
        return BodyDecision("unchanged", body, digest)
    return (
        BodyDecision("edited by a person", current_body, digest)
        if last_digest == digest
        else BodyDecision("changed", body, digest)
    )


def _decide_section(action: EnsureComment, key: str, current_body: str | None) -> BodyDecision | None:
    mark = marker(action.family)
    sections = Sections() if current_body is None else parse_sections(current_body, marker=mark)
    current_section = sections.find(key)
    if current_section is None and not action.create:
        return None
    requested = section_text(action.body)
    text = requested if current_section is None else copy_checked_boxes(current_section.text, requested)
    if current_body is not None and current_section is not None:
        if _normalize(current_section.text) == _normalize(text):
            return BodyDecision("unchanged", current_body, _digest(current_body))
        if current_section.digest == digest_of(requested):
            return BodyDecision("edited by a person", current_body, _digest(current_body))
    sections = sections.with_section(Section(key, digest_of(requested), text))
    body = render_sections(sections, newest=key, footer=action.footer, marker=mark)
    return BodyDecision("changed", body, _digest(body))


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
