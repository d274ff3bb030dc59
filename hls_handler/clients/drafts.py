"""What our comment shall say, held against what it says now: a pure decision.

A tick by a person must never cause a write. So "nothing new" compares what was asked for with what was asked for last,
by digest and without ticks; and what stands there is compared with what we would write, ticks carried over.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from hls_handler.actions import KeepComment
from hls_handler.clients.clamp import LONGEST, clamp
from hls_handler.clients.sections import Section, Sections, compose, digest_of, own_text, parse
from hls_handler.clients.ticks import keep_ticks


@dataclass(frozen=True, slots=True)
class Draft:
    news: Literal["new", "said", "edited"]  # to be written; there already; a person edited it, and we have nothing new
    body: str  # the whole comment as it then is, with our marks
    digest: str  # for the memory; SHA-256 in hex


def marker(family: str) -> str:
    return f"<!-- hls:{family} -->"


def draft(action: KeepComment, standing: str | None, *, written: str | None) -> Draft | None:
    """None if there is nothing worth saying, and nothing there that it would correct.

    `standing` is our comment as it is now, `written` the digest that the memory has of it.
    """
    if action.section is not None:
        return _section(action, action.section, standing)
    return _whole(action, standing, written=written)


def plain(body: str) -> str:
    """Line ends as GitHub's own editor writes them make no difference."""
    return body.replace("\r\n", "\n").strip()


def _whole(action: KeepComment, standing: str | None, *, written: str | None) -> Draft | None:
    mark = f"\n{marker(action.family)}"
    asked = clamp(action.body, LONGEST - len(mark)) + mark
    digest = _digest(asked)
    if standing is None:
        return Draft("new", asked, digest) if action.create else None
    body = keep_ticks(standing, asked)
    if plain(standing) == plain(body):
        return Draft("said", body, digest)
    return Draft("edited", standing, digest) if written == digest else Draft("new", body, digest)


def _section(action: KeepComment, key: str, standing: str | None) -> Draft | None:
    mark = marker(action.family)
    sections = Sections() if standing is None else parse(standing, marker=mark)
    ours = sections.find(key)
    if ours is None and not action.create:
        return None
    asked = own_text(action.body)
    text = asked if ours is None else keep_ticks(ours.text, asked)
    if standing is not None and ours is not None:
        if plain(ours.text) == plain(text):
            return Draft("said", standing, _digest(standing))
        if ours.digest == digest_of(asked):
            return Draft("edited", standing, _digest(standing))
    sections = sections.with_section(Section(key, digest_of(asked), text))
    body = compose(sections, newest=key, footer=action.footer, marker=mark)
    return Draft("new", body, _digest(body))


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
