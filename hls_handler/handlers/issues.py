"""Issues: what is asked about one, and the labels and the comment that come of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hls_handler.actions import Action, KeepComment
from hls_handler.analysis import Analysis
from hls_handler.events import Event, Issue
from hls_handler.handlers.handler import Budget, Handler, still_welcome
from hls_handler.handlers.reader import Reader
from hls_handler.handlers.record import Correction, Record
from hls_handler.handlers.wishes import keep_labels
from hls_handler.routing import Rule

MOST_CORRECTIONS = 6
"""Examples of how the maintainers sort: more would cost every issue, and say little more."""


@dataclass(frozen=True, slots=True)
class IssueFacts:
    issue: Issue  # as it is now, which may be later than the event
    corrections: tuple[Correction, ...] = ()  # of this repository


class IssueHandler(Handler[IssueFacts]):
    name = "IssueHandler"
    family = "issues"
    replies = frozenset({"issue_analysis", "issue_response"})
    facts_type = IssueFacts
    facts_version = 2
    variable_types: Mapping[str, object] = {"issue": Issue, "corrections": tuple[Correction, ...]}
    outdated_by_an_answer = True

    def gather(self, event: Event, reader: Reader, record: Record, budget: Budget) -> IssueFacts:
        assert event.issue is not None  # parse_event refuses an `issues` event without one
        issue = reader.issue(event.issue.number)
        still_welcome(event, issue)
        return IssueFacts(issue, record.corrections(most=MOST_CORRECTIONS))

    def variables(self, event: Event, facts: IssueFacts) -> Mapping[str, object]:
        return {"issue": facts.issue, "corrections": facts.corrections}

    def plan(self, event: Event, facts: IssueFacts, analysis: Analysis, rule: Rule) -> tuple[Action, ...]:
        """Labels from every analysis of the issue (an answer to its question has none); the comment of the last."""
        actions: list[Action] = [*keep_labels(analysis)]
        if analysis.comment:
            actions.append(KeepComment(self.family, analysis.comment, create=analysis.worth_saying))
        return tuple(actions)
