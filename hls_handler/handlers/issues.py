"""Handler for issues: labels and a comment from the analysis of an issue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hls_handler.actions import Action
from hls_handler.analysis import Analysis
from hls_handler.events import Event, Issue
from hls_handler.handlers.handler import Handler, PromptLimits, check_conversation, current_issue, plan_comment
from hls_handler.handlers.labels import LabelOffer, plan_labels, select_offer
from hls_handler.handlers.reader import Correction, Reader, RepositoryHistory, RepositoryLabel

MAX_CORRECTIONS = 6
"""Limit on the label corrections that the prompt shows as examples. More would increase the cost of every prompt."""


@dataclass(frozen=True, slots=True)
class IssueFacts:
    issue: Issue  # current state, possibly newer than the event
    corrections: tuple[Correction, ...] = ()  # corrections by people in this repository
    offer: LabelOffer | None = None  # the repository's own labels; None: they are not offered

    @property
    def repository_labels(self) -> tuple[RepositoryLabel, ...]:
        return self.offer.labels if self.offer is not None else ()


class IssueHandler(Handler[IssueFacts]):
    family = "issues"
    replies = frozenset({"issue_analysis", "issue_response", "generic_analysis"})
    facts_type = IssueFacts
    facts_version = 4
    variable_types: Mapping[str, object] = {
        "issue": Issue,
        "corrections": tuple[Correction, ...],
        "repository_labels": tuple[RepositoryLabel, ...],
    }
    superseded_by_newer_answer = True

    def gather(self, event: Event, reader: Reader, history: RepositoryHistory, limits: PromptLimits) -> IssueFacts:
        issue = current_issue(event, reader)
        check_conversation(event, issue)
        offer = select_offer(reader.labels(), limits.offer) if limits.offer is not None else None
        return IssueFacts(issue, history.corrections(most=MAX_CORRECTIONS), offer)

    def plan(self, event: Event, facts: IssueFacts, analysis: Analysis) -> tuple[Action, ...]:
        comment = plan_comment(analysis, self.comment_family(event), create=analysis.worth_saying)
        return (*plan_labels(analysis, offer=facts.offer), *comment)
