"""Older open issues that may be about the same matter as a new one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hls_handler.analysis import IssueAnalysis, Reply
from hls_handler.errors import Permanent
from hls_handler.events import Issue
from hls_handler.handlers.documents import contains_quote
from hls_handler.handlers.handler import web_url
from hls_handler.handlers.reader import Reader, RepositoryHistory

MAX_SHOWN = 3
MAX_READ = 5  # candidates that are read from GitHub, because some may be closed by now

_PREFIX = re.compile(r"\s*(?:\[[^\]]*\]|[\w ]{1,30}(?::|\s-\s))\s*")


@dataclass(frozen=True, slots=True)
class SimilarIssue:
    number: int
    title: str
    text: str
    url: str  # "" if it is unknown


@dataclass(frozen=True, slots=True)
class SameIssueView:
    """The older issue that Claude takes for the same, and what it says of the matter."""

    number: int
    title: str
    url: str
    quote: str


def without_prefix(title: str) -> str:
    """Return the title of an issue without the kind before it: "Bug: It crashes" and "[bug] It crashes"."""
    found = _PREFIX.match(title)
    return title[found.end() :] if found and found.end() < len(title) else title


def find_similar(issue: Issue, reader: Reader, history: RepositoryHistory) -> tuple[SimilarIssue, ...]:
    """Return up to three older issues with the words of `issue` that are open."""
    labels = [label.name for label in issue.labels]
    numbers = history.similar_issues(issue.number, without_prefix(issue.title), issue.body, labels)
    found: list[SimilarIssue] = []
    for number in numbers[:MAX_READ]:
        try:
            other = reader.issue(number)
        except Permanent:  # deleted or transferred
            continue
        if other.state == "open":
            found.append(SimilarIssue(number, other.title, other.body, web_url(issue.html_url, f"issues/{number}")))
        if len(found) == MAX_SHOWN:
            break
    return tuple(found)


def find_same(reply: Reply, issue: Issue, similar: Sequence[SimilarIssue]) -> SameIssueView | None:
    """Return the issue that the reply takes for the same, if both contain what it quotes; else None."""
    same = reply.same_as if isinstance(reply, IssueAnalysis) else None
    other = next((one for one in similar if same and one.number == same.number), None)
    if same is None or other is None:
        return None
    own, theirs = f"{issue.title}\n{issue.body}", f"{other.title}\n{other.text}"
    if not (contains_quote(own, same.quote) and contains_quote(theirs, same.quote_there)):
        return None
    return SameIssueView(other.number, other.title, other.url, same.quote_there)
