"""Writes to one repository: labels, the bot's comments, its reviews, and replies in its review
threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from pydantic import BaseModel

from hls_handler.actions import (
    EnsureIssueType,
    EnsureLabels,
    Outcome,
    Reaction,
    RequestReviewers,
)
from hls_handler.events import Account, Label
from hls_handler.github.api import RepositoryApi, rest
from hls_handler.github.comments import BotComments, History
from hls_handler.github.errors import Refused
from hls_handler.github.labels import (
    MAX_PAGES,
    LabelDifference,
    LabelOrigin,
    LabelSpec,
    LabelState,
    RepositoryLabels,
    decide_labels,
)
from hls_handler.github.review_writer import BotReviews
from hls_handler.settings.sections import EffectiveLabels
from hls_handler.wording import shorten

if TYPE_CHECKING:
    from github.Repository import Repository


ANY_NUMBER = 1
"""PyGithub reaches a comment through its issue, whose number is not in the comment's path."""


class _IssueType(BaseModel):
    name: str
    is_enabled: bool = True


HAS_TYPE = "the issue has a type already"


class _TypedIssue(BaseModel):
    type: _IssueType | None = None


class GithubWriter:
    """Sets labels and types, writes comments and reviews. A dry run has no `guard`: only
    previews.
    """

    def __init__(
        self,
        api: RepositoryApi,
        *,
        bot: Account,
        history: History,
        labels: RepositoryLabels,
    ) -> None:
        self._api = api
        self._history = history
        self._labels = labels
        self._base = f"/repos/{api.repository}"
        self.ensure_comment = BotComments(api, bot=bot, history=history).ensure_comment
        reviews = BotReviews(api, bot=bot)
        self.ensure_review = reviews.ensure_review
        self.ensure_reply = reviews.ensure_reply

    def ensure_reaction(
        self, comment_id: int, content: Reaction, *, is_review_comment: bool = False
    ) -> str:
        """React to a comment of an issue or pull request or in a review thread, and return a
        sentence about it.

        GitHub stores the same reaction of an account only once.
        """
        if self._api.guard is None:
            return f"would have reacted with {content}"

        def react(repository: Repository) -> object:
            if is_review_comment:
                pull = repository.get_pull(ANY_NUMBER)
                return pull.get_review_comment(comment_id).create_reaction(content)
            return repository.get_issue(ANY_NUMBER).get_comment(comment_id).create_reaction(content)

        try:
            self._api.write(react, expected=(404, 410))
        except Refused:
            return "a person deleted the comment, so it got no reaction"
        return f"reacted with {content}"

    def ensure_labels(
        self,
        number: int,
        action: EnsureLabels,
        *,
        labels: EffectiveLabels,
        before: Mapping[str, LabelState],
        present: frozenset[str] | None = None,
    ) -> Outcome:
        """Add and remove labels so that the issue or pull request has the requested ones.

        `present` are the labels that the issue or pull request has now; None to read them. `before`
        has the label states from before the delivery's first write. The outcome includes the
        changes of earlier attempts, with the added labels in the order of `action.requested`.
        """
        if present is None:
            present = self._read_labels(number)
        difference = self._compare_labels(action, labels, present)
        if self._api.guard is None:
            return _preview_labels(difference)
        not_removed = self._remove_labels(number, difference)
        refused = self._write_labels(number, difference, action)
        difference = replace(
            difference,
            add=tuple(name for name in difference.add if name not in refused),
            remove=tuple(name for name in difference.remove if name not in not_removed),
            withheld=(*difference.withheld, *refused.items()),
            kept=tuple(not_removed.items()),
        )
        rank = {label.name: number for number, label in enumerate(action.requested)}
        merged = _merge_earlier_attempts(
            difference, rank, before=before, after=self._history.labels()
        )
        return _label_outcome(merged)

    def ensure_issue_type(self, number: int, action: EnsureIssueType) -> Outcome:
        """Set the type of an issue, at most once. A type that a person set or removed stays so.

        https://docs.github.com/en/rest/repos/issue-types
        """
        if action.name is None:
            return self._remove_issue_type(number)
        if self._history.was_done_once():
            return Outcome("type", "unchanged", "the issue got a type earlier")
        # PyGithub lists those of an organization only
        request = rest("GET", f"{self._base}/issue-types", tuple[_IssueType, ...])
        types = self._api.find(request) or ()
        enabled = {
            issue_type.name.casefold(): issue_type.name
            for issue_type in types
            if issue_type.is_enabled
        }
        name = enabled.get(action.name.casefold())
        if name is None:
            return Outcome(
                "type",
                "withheld",
                f"type {action.name} not set: the repository has no such issue type",
            )
        outcome = Outcome("type", "unchanged", HAS_TYPE)
        if self._api.read(lambda it: it.get_issue(number).type) is None:
            if self._api.guard is None:
                return Outcome("type", "dry_run", f"would have set the type {name}")
            if self._write_type(number, name) is None:
                return Outcome(
                    "type", "withheld", f"type {name} not set: the account needs the role write"
                )
            outcome = Outcome("type", "changed", f"set the type {name}")
        if self._api.guard is not None:
            self._history.record_done_once()
        return outcome

    def _remove_issue_type(self, number: int) -> Outcome:
        present = self._api.read(lambda it: it.get_issue(number).type)
        outcome = Outcome("type", "unchanged", "the issue has no type")
        if present is not None:
            if self._api.guard is None:
                return Outcome("type", "dry_run", f"would have removed the type {present.name}")
            self._write_type(number, None)
            outcome = Outcome("type", "changed", f"removed the type {present.name}")
        if self._api.guard is not None:
            self._history.forget_done_once()
        return outcome

    def _write_type(self, number: int, name: str | None) -> _IssueType | None:
        # PyGithub's `edit` does not have the type
        path = f"{self._base}/issues/{number}"
        request = rest("PATCH", path, _TypedIssue, body={"type": name})
        return self._api.write(request).type

    def request_reviewers(self, number: int, action: RequestReviewers) -> Outcome:
        """Request reviews, at most once for a pull request: a reviewer whom a person removed is not
        requested again.

        https://docs.github.com/en/rest/pulls/review-requests
        """
        names = ", ".join(action.logins)
        if self._history.was_done_once():
            return Outcome("reviewers", "unchanged", "reviews were requested earlier")
        if self._api.guard is None:
            return Outcome("reviewers", "dry_run", f"would have requested reviews from {names}")
        refused = _write_names(
            action.logins,
            lambda logins: self._api.write(
                lambda it: it.get_pull(number).create_review_request(logins),
                expected=(422,),
            ),
        )
        self._history.record_done_once()
        requested = [login for login in action.logins if login not in refused]
        details = [f"{login} not requested: {why}" for login, why in refused.items()]
        if not requested:
            return Outcome("reviewers", "withheld", "; ".join(details))
        details.insert(0, f"requested reviews from {', '.join(requested)}")
        return Outcome("reviewers", "changed", "; ".join(details))

    def _read_labels(self, number: int) -> frozenset[str]:
        labels = self._api.items(lambda it: it.get_issue(number).get_labels(), Label)
        return frozenset(label.name for label in labels)

    def _compare_labels(
        self, action: EnsureLabels, settings: EffectiveLabels, present: frozenset[str]
    ) -> LabelDifference:
        stored = self._history.labels()

        def decide(in_repository: frozenset[str]) -> LabelDifference:
            return decide_labels(
                action, settings, present=present, stored=stored, in_repository=in_repository
            )

        optimistic = decide(frozenset(label.name for label in action.requested))
        if not optimistic.add:
            return optimistic
        # then a label that a person has just deleted must not be created by setting it
        if not settings.create:
            return decide(self._find_in_repository(optimistic.add))
        existing = frozenset(label.name for label in self._labels.find_or_list(self._api))
        suggested = [name for name in optimistic.add if name in action.existing_only]
        if suggested:  # the same holds for these
            existing = (existing - frozenset(suggested)) | self._find_in_repository(suggested)
        return decide(existing)

    def _find_in_repository(self, names: Sequence[str]) -> frozenset[str]:
        if len(names) == 1:
            label_there = self._api.find(lambda it: it.get_label(names[0]).complete())
            if label_there is None:
                return frozenset()
            return frozenset(names)
        missing = {name.casefold(): name for name in names}
        existing = set[str]()
        for label in self._api.items(lambda it: it.get_labels(), Label, max_pages=MAX_PAGES):
            if label.name.casefold() in missing:
                existing.add(missing.pop(label.name.casefold()))
            if not missing:
                break
        return frozenset(existing)

    def _remove_labels(self, number: int, difference: LabelDifference) -> Mapping[str, str]:
        """Store what people changed and remove labels. Return those that GitHub refused to remove,
        with the reasons.
        """
        history = self._history
        not_removed = dict[str, str]()
        history.change_labels(difference.removed_by_person, "removed")
        history.change_labels(difference.confirm, "set")
        history.change_labels(difference.not_applied, None)
        for name in difference.remove:
            # If the response is lost, the state "intended" shows that no person removed the label.
            history.change_labels((name,), "intended")
            # PyGithub does not quote a slash in the name
            path = f"{self._base}/issues/{number}/labels/{quote(name, safe='')}"
            state: LabelState | None = None
            try:
                self._api.write(rest("DELETE", path, object), expected=(404, 422))
            except Refused as refused:
                if refused.status == 422:  # 404: it is not set
                    not_removed[name] = _describe_rejection(refused)
                    state = "set"
            history.change_labels((name,), state)
        return not_removed

    def _write_labels(
        self, number: int, difference: LabelDifference, action: EnsureLabels
    ) -> Mapping[str, str]:
        """Create and add labels. Return those that GitHub refused, with the reason of each."""
        history = self._history
        refused = dict[str, str]()
        for spec in difference.create:
            why = self._create_label(spec)
            if why is not None:
                refused[spec.name] = why
        add = tuple(name for name in difference.add if name not in refused)
        if add:
            # first, because a response can be lost
            history.change_labels(add, "intended", label_origins(action))
            refused |= _write_names(
                add,
                lambda names: self._api.write(
                    lambda it: it.get_issue(number).add_to_labels(*names),
                    expected=(422,),
                ),
            )
            history.change_labels(tuple(name for name in add if name not in refused), "set")
            history.change_labels(tuple(name for name in add if name in refused), None)
        return refused

    def _create_label(self, spec: LabelSpec) -> str | None:
        """Create the label; return why GitHub refused it, or None."""
        try:
            self._api.write(
                lambda it: it.create_label(spec.name, spec.color, spec.description),
                expected=(422,),
            )
        except Refused as refused:
            if not _already_exists(refused):
                return _describe_rejection(refused)
        self._labels.add(self._api.repository, spec.name)
        return None


def label_origins(action: EnsureLabels) -> Mapping[str, LabelOrigin]:
    """Return group and prompt of each label that a reply requests. Labels from facts ("size/small")
    are left out.
    """
    prompts = action.prompt_ids
    return {
        label.name: LabelOrigin(label.group, prompts[label.group])
        for label in action.requested
        if label.group in prompts
    }


def _write_names(names: Sequence[str], write: Callable[[list[str]], object]) -> Mapping[str, str]:
    """Write the names, one by one if GitHub refuses them together. Return the refused ones, with
    the reasons.
    """
    try:
        write([*names])
    except Refused as rejection:
        if len(names) == 1:
            return {names[0]: _describe_rejection(rejection)}
    else:
        return {}
    refused = dict[str, str]()
    for name in names:
        refused |= _write_names([name], write)
    return refused


def _describe_rejection(refused: Refused) -> str:
    return f"GitHub refused it (422 {shorten(refused.reasons)})"


def _already_exists(refused: Refused) -> bool:
    errors = refused.get("errors")
    return isinstance(errors, list) and any(
        isinstance(e, dict) and e.get("code") == "already_exists" for e in errors
    )


def _merge_earlier_attempts(
    difference: LabelDifference,
    rank: Mapping[str, int],
    *,
    before: Mapping[str, LabelState],
    after: Mapping[str, LabelState],
) -> LabelDifference:
    added = [name for name, state in after.items() if state == "set" and before.get(name) != "set"]
    lost = [name for name in sorted(before) if before[name] == "set" and name not in after]
    return replace(
        difference,
        confirm=(),
        add=tuple(sorted(added, key=lambda name: (rank.get(name, len(rank)), name))),
        remove=tuple(dict.fromkeys((*difference.remove, *lost))),
    )


def _label_outcome(difference: LabelDifference) -> Outcome:
    # `confirm`: the response to an earlier addition was lost
    added = difference.confirm + difference.add
    removed = difference.remove
    details = []
    if added:
        details.append(f"added {', '.join(added)}")
    if removed:
        details.append(f"removed {', '.join(removed)}")
    kind: Literal["changed", "withheld", "unchanged"] = "changed"
    if not details:
        details.append("the labels are as they should be")
        kind = "unchanged"
        if difference.withheld or difference.kept:
            kind = "withheld"
    details += [f"{name} not added: {why}" for name, why in difference.withheld]
    details += [f"{name} not removed: {why}" for name, why in difference.kept]
    return Outcome("labels", kind, "; ".join(details), added=added, removed=removed)


def _preview_labels(difference: LabelDifference) -> Outcome:
    outcome = _label_outcome(difference)
    if not (difference.add or difference.remove):
        return outcome
    return replace(outcome, kind="dry_run", detail=f"would have: {outcome.detail}")


def require_permission(api: RepositoryApi, number: int) -> None:
    """Raise `Forbidden` if the credential may not change labels: it takes off one that no issue
    has, which changes nothing.
    """
    path = f"/repos/{api.repository}/issues/{number}/labels/{quote('hls: permission', safe='')}"
    with suppress(Refused):
        api.write(rest("DELETE", path, object), expected=(404, 410, 422))
