"""Reads the cases that rules are drafted from: what people decided about findings and labels, and
what they wrote in reviews.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hls_handler.engine.job import GATHER, facts_codec
from hls_handler.errors import HlsError, PayloadError
from hls_handler.events import Event, parse_event
from hls_handler.handlers.reviews import ReviewFacts, ReviewHandler, find_skip_reason
from hls_handler.review.dismissals import COMMAND, classify_reply
from hls_handler.review.record import LedgerEntry
from hls_handler.review.rules import Case, CaseKind, RaisedFinding
from hls_handler.storage import Storage
from hls_handler.store.corrections import RecordedCorrection
from hls_handler.store.statistics import StoredDelivery
from hls_handler.untrusted.cleaning import clean_and_redact, truncate
from hls_handler.untrusted.command_line import read_command_line

MAX_READ = 500
"""Newest findings, corrections and deliveries that are searched for cases."""

CASE_CHARACTERS = 600

REVIEW = "pull_request_review"
COMMENTS = ("issue_comment", "pull_request_review_comment")

INSIDERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
"""Values of `author_association` of people who work on the repository. GitHub's permission of a
reviewer is not stored.
"""

_COMMAND = re.compile(r"\A/dismiss[:,]?(?: #?\d+[:,]?)?", re.IGNORECASE)


class CannotLearn(HlsError):
    """There is nothing to draft rules from, or no prompt to ask; the message says what to do."""


@dataclass(frozen=True, slots=True)
class History:
    """The stored decisions of people in one repository."""

    repository: str  # "octo/shop", as GitHub writes it
    repository_id: int
    cases: tuple[Case, ...]  # the newest first
    findings: tuple[RaisedFinding, ...]  # that reviews of Claude raised, the newest first
    issue_labels: int  # corrected labels of issues, which are no cases


@dataclass(frozen=True, slots=True)
class _Dated:
    at: datetime
    case: Case


def read_history(
    store: Storage, repository: str, *, most: int, searched: int = MAX_READ
) -> History:
    """Return at most `most` cases, found in the newest `searched` rows of each kind.

    Raises `CannotLearn` if no delivery of the repository is stored.
    """
    newest = store.deliveries.find_repository(repository)
    if newest is None or newest.repository_id is None:
        raise CannotLearn(
            f"no delivery of {repository} is stored: check the name, and that the settings are"
            " those of its service"
        )
    of_id = newest.repository_id
    findings = store.reviews.newest_findings(of_id, most=searched)
    corrections = store.corrections.newest_of_repository(of_id, most=searched)
    dismissed = store.reviews.newest_findings(of_id, most=searched, states=("dismissed", "gone"))
    reader = _Reader(store, newest.repository or repository, of_id, searched)
    dated = [*reader.dismissals(dismissed), *reader.corrections(corrections), *reader.reviews()]
    dated.sort(key=lambda one: one.at, reverse=True)
    cases = [replace(one.case, number=number) for number, one in enumerate(dated[:most], 1)]
    return History(
        reader.repository,
        of_id,
        tuple(cases),
        # HLS itself raises credentials, so no rule can hide them
        tuple(one for one in findings if not one.entry.form),
        sum(not one.is_pull_request for one in corrections),
    )


@dataclass(frozen=True)
class _Reader:
    store: Storage
    repository: str
    repository_id: int
    searched: int  # newest rows of each kind

    def dismissals(self, findings: Sequence[RaisedFinding]) -> Iterator[_Dated]:
        """Yield the findings that people with write permission dismissed with a reason."""
        binding = [one for one in findings if one.entry.has_binding_dismissal]
        comments = self._read_comments(binding)
        for one in binding:
            said = [each for each in comments if each.explains(one)]
            # else the thread was resolved, or got a thumbs down
            found = next((each for each in said if each.dismisses(one)), next(iter(said), None))
            if found is not None:
                where = f"{self.repository}#{one.pull_request}, finding {one.entry.number}"
                path = one.entry.path
                case = _make_case("dismissed finding", where, path, one.entry.title, found.reason)
                yield _Dated(found.at, case)

    def corrections(self, corrections: Sequence[RecordedCorrection]) -> Iterator[_Dated]:
        """Yield the labels of pull requests that people corrected: only reviews read the rules."""
        for one in corrections:
            if not one.is_pull_request:
                continue
            text = f"{one.label} was removed"
            if one.corrected_to:
                text = f"{one.label} was replaced by {one.corrected_to}"
            where = f"{self.repository}#{one.number}"
            yield _Dated(one.recorded_at, _make_case("corrected label", where, "", one.title, text))

    def reviews(self) -> Iterator[_Dated]:
        """Yield the comments of reviews, each review once, as it was read last."""
        handler = ReviewHandler()
        codec = facts_codec(handler, ReviewFacts)
        stored = self.store.deliveries.with_body(
            self.repository_id, event=REVIEW, handler=handler.name, most=self.searched
        )
        gathered = self.store.checkpoints.load_first(GATHER, [one.row.guid for one in stored])
        seen: set[int] = set()
        for one in stored:
            facts = codec.decode(gathered.get(one.row.guid))
            event = _read_event(one)
            if facts is None or event is None or facts.review.id in seen:
                continue
            seen.add(facts.review.id)
            if _is_by_insider(event, facts):
                for case in _list_comments(facts, f"{self.repository}#{one.row.number}"):
                    yield _Dated(one.row.received_at, case)

    def _read_comments(self, dismissed: Iterable[RaisedFinding]) -> list[_StoredComment]:
        """Return the comments of people in the pull requests where they dismissed findings, as they
        were edited last, the newest first.
        """
        wanted = {(one.pull_request, one.entry.dismissed_by or "") for one in dismissed}
        stored = self.store.deliveries.with_comments(
            self.repository_id,
            {number for number, _ in wanted},
            events=COMMENTS,
            by={login for _, login in wanted},
            most=self.searched,
        )
        found: list[_StoredComment] = []
        seen: set[tuple[str, int]] = set()
        for one in stored:
            row = one.row
            event = _read_event(one)
            if event is None or event.comment is None or row.number is None:
                continue
            key = row.event, event.comment.id
            if key not in seen and row.action != "deleted":
                thread = _find_member(event, "comment", "in_reply_to_id")
                author = event.comment.user.login
                text = event.comment.body
                at = row.received_at
                found.append(_StoredComment(row.guid, row.number, author, text, thread, at))
            seen.add(key)
        return found


@dataclass(frozen=True, slots=True)
class _StoredComment:
    """A stored comment, which may dismiss a finding."""

    guid: str
    number: int  # of the pull request
    author: str
    text: str
    thread: object  # id of the first comment of its review thread; None if it is in none
    at: datetime

    @property
    def reason(self) -> str:
        """The words without `/dismiss N` in the first line."""
        first, _, rest = self.text.strip().partition("\n")
        words = " ".join(first.split())
        command = read_command_line(self.text)[1]  # in lower case
        if command.startswith("/dismiss"):
            start = words.lower().index(command)
            words = words[start : start + len(command)]
        return f"{_COMMAND.sub('', words)}\n{rest}".strip()

    def explains(self, finding: RaisedFinding) -> bool:
        """Return True if the person who dismissed the finding gives a reason in it."""
        entry = finding.entry
        if (self.number, self.author) != (finding.pull_request, entry.dismissed_by):
            return False
        is_reply = self.thread is not None and self.thread == entry.comment_id
        is_reason = is_reply and classify_reply(self.text) != "change"
        return (is_reason or self._is_command(entry)) and bool(self.reason)

    def dismisses(self, finding: RaisedFinding) -> bool:
        """Return True if it is the dismissal, of those that explain it."""
        return self._is_command(finding.entry) or classify_reply(self.text) == "dismissal"

    def _is_command(self, entry: LedgerEntry) -> bool:
        return f"{COMMAND}{self.guid[:8]} by {self.author}" in entry.dismissals


def _read_event(stored: StoredDelivery) -> Event | None:
    try:
        return parse_event(stored.row.event, stored.row.guid, stored.body)
    except PayloadError:
        return None  # an earlier version stored it


def _find_member(event: Event, name: str, member: str) -> object:
    """Return a member of an object of the payload that `Event` leaves out."""
    found = event.payload.get(name)
    if not isinstance(found, Mapping):
        return None
    return found.get(member)


def _is_by_insider(event: Event, facts: ReviewFacts) -> bool:
    if facts.review.user.is_bot or find_skip_reason(facts) is not None:
        return False
    return _find_member(event, "review", "author_association") in INSIDERS


def _list_comments(facts: ReviewFacts, where: str) -> Iterator[Case]:
    texts = [("", facts.review.body), *((one.path, one.body) for one in facts.comments)]
    for path, text in texts:
        if text.strip():
            yield _make_case("review comment", where, path, "", text)


def _make_case(kind: CaseKind, where: str, path: str, about: str, text: str) -> Case:
    """Return a case whose number is not known yet."""
    shown = [truncate(clean_and_redact(one).strip(), CASE_CHARACTERS) for one in (about, text)]
    return Case(0, kind, where, path, *shown)
