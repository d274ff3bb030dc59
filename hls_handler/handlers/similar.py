"""Older open issues that may be about the same matter as a new one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from hls_handler.analysis import IssueAnalysis, ReplyFields
from hls_handler.errors import Permanent
from hls_handler.events import Issue
from hls_handler.github.reader import GithubReader
from hls_handler.handlers.documents import as_one_line, contains_quote
from hls_handler.handlers.handler import web_url
from hls_handler.handlers.reader import RepositoryHistory, StoredIssue, read_optional

MAX_SHOWN = 3
MAX_READ = 5  # candidates that are read from GitHub, because some may be closed by now

_TAG = re.compile(r"\s*\[[^\]]*\][\s:-]*")


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
    """Return the title of an issue without the tag that a form wrote: "It crashes" for "[Bug]: It
    crashes".

    Other words before a colon stay, because they often name the subject: "Invoice PDF: names are
    cut off". Those that many issues have, such as "bug", weigh little.
    """
    match = _TAG.match(title)
    if match is None or match.end() == len(title):
        return title
    return title[match.end() :]


def _read_candidates(
    issue: Issue, reader: GithubReader, history: RepositoryHistory
) -> Iterator[tuple[StoredIssue, Issue | None]]:
    """Yield up to five older issues with the words of `issue`, as stored and as GitHub has them
    now.

    GitHub's is None if the issue was deleted, or transferred to another repository.
    """

    def read(number: int) -> Issue | None:
        try:
            return reader.issue(number)
        except Permanent:
            return None

    labels = [label.name for label in issue.labels]
    stored = history.similar_issues(issue.number, without_prefix(issue.title), issue.body, labels)
    for candidate in stored[:MAX_READ]:
        other = read_optional(partial(read, candidate.number), None)
        if not other.problem:
            yield candidate, other.value


@dataclass(frozen=True, slots=True)
class SimilarIssues:
    shown: tuple[SimilarIssue, ...] | None = None  # None: they were not searched
    closed: tuple[int, ...] = ()  # numbers of others, closed or deleted


def find_similar(issue: Issue, reader: GithubReader, history: RepositoryHistory) -> SimilarIssues:
    """Return up to three older issues with the words of `issue` that are open."""
    similar_issues: list[SimilarIssue] = []
    gone: list[int] = []
    for stored, other in _read_candidates(issue, reader, history):
        if other is None or other.state == "closed":
            gone.append(stored.number)
        else:
            url = web_url(issue.html_url, f"issues/{stored.number}")
            similar_issues.append(SimilarIssue(stored.number, other.title, other.body, url))
        if len(similar_issues) == MAX_SHOWN:
            break
    return SimilarIssues(tuple(similar_issues), tuple(gone))


def _says(title: str, body: str, quote: str) -> bool:
    return contains_quote(body, quote) or as_one_line(title) == as_one_line(quote)


def find_same(
    reply: ReplyFields, issue: Issue, similar: Sequence[SimilarIssue]
) -> SameIssueView | None:
    """Return the issue that the reply takes for the same, if both contain what it quotes; else
    None.
    """
    if not isinstance(reply, IssueAnalysis) or reply.same_as is None:
        return None
    same = reply.same_as
    other = next((candidate for candidate in similar if candidate.number == same.number), None)
    if other is None or not _says(issue.title, issue.body, same.quote):
        return None
    if not _says(other.title, other.text, same.quote_there):
        return None
    return SameIssueView(other.number, other.title, other.url, same.quote_there)
