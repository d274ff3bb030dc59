"""Handler for issues: labels and a comment from the analysis of an issue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hls_handler.events import Event, Issue
from hls_handler.handlers.handler import Handler, PromptLimits, check_conversation, current_issue
from hls_handler.handlers.reader import Correction, Reader, RepositoryHistory

MAX_CORRECTIONS = 6
"""Limit on the label corrections that the prompt shows as examples. More would increase the cost of every prompt."""


@dataclass(frozen=True, slots=True)
class IssueFacts:
    issue: Issue  # current state, possibly newer than the event
    corrections: tuple[Correction, ...] = ()  # corrections by people in this repository


class IssueHandler(Handler[IssueFacts]):
    family = "issues"
    replies = frozenset({"issue_analysis", "issue_response"})
    facts_type = IssueFacts
    facts_version = 3
    variable_types: Mapping[str, object] = {"issue": Issue, "corrections": tuple[Correction, ...]}
    superseded_by_newer_answer = True

    def gather(self, event: Event, reader: Reader, history: RepositoryHistory, limits: PromptLimits) -> IssueFacts:
        issue = current_issue(event, reader)
        check_conversation(event, issue)
        return IssueFacts(issue, history.corrections(most=MAX_CORRECTIONS))
