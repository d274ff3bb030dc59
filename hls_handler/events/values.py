"""Events and their objects as frozen values, the format of names, and the objects that each event must have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

REPOSITORY_NAME = re.compile(r"(?!\.\.?/)[A-Za-z0-9_.-]+/(?!\.\.?\Z)[A-Za-z0-9_.-]+")
"""A whole "owner/repo", for fullmatch. Goes into URLs unquoted: no second slash, `..` or special character."""

REQUIRED_OBJECTS: Mapping[str, tuple[str, ...]] = {
    "issues": ("issue",),
    "pull_request": ("pull_request",),
    "pull_request_review": ("review", "pull_request"),
    "workflow_run": ("workflow_run",),
    "issue_comment": ("comment", "issue"),
    "release": ("release",),
}
"""Objects that the payload of each event with its own handler must have; checks the unsigned event header."""


def event_key(name: str, action: str | None) -> str:
    return f"{name}.{action}" if action else name


def is_bot(login: str, kind: str) -> bool:
    """Return True for a bot account, by its `type` or by the suffix of App logins: "dependabot[bot]"."""
    return kind == "Bot" or login.endswith("[bot]")


@dataclass(frozen=True, slots=True)
class Account:
    login: str
    id: int
    type: str  # "User", "Bot", "Organization"

    @property
    def is_bot(self) -> bool:
        return is_bot(self.login, self.type)


@dataclass(frozen=True, slots=True)
class Repository:
    id: int
    full_name: str  # "owner/repo"
    private: bool
    description: str | None
    default_branch: str | None
    language: str | None

    @property
    def owner(self) -> str:
        return self.full_name.partition("/")[0]

    @property
    def name(self) -> str:
        return self.full_name.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Label:
    name: str


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue, or a pull request in the form of an issue, as in `issue_comment` events."""

    number: int
    title: str
    body: str  # "" if GitHub has null
    user: Account
    state: Literal["open", "closed"]
    locked: bool
    labels: tuple[Label, ...]
    author_association: str  # "NONE", "CONTRIBUTOR", ...; not a permission
    html_url: str
    is_pull_request: bool = False  # a pull request in the form of an issue


@dataclass(frozen=True, slots=True)
class PullRequest:
    number: int
    title: str
    body: str
    user: Account
    state: Literal["open", "closed"]
    locked: bool
    draft: bool
    labels: tuple[Label, ...]
    author_association: str
    html_url: str
    head_sha: str
    head_ref: str
    base_ref: str
    additions: int
    deletions: int
    changed_files: int
    commits: int


ReviewState = Literal["approved", "changes_requested", "commented", "dismissed", "pending"]


@dataclass(frozen=True, slots=True)
class Review:
    """A review of a pull request, without its comments on lines."""

    id: int
    user: Account
    state: ReviewState
    body: str
    commit_id: str  # the commit that was reviewed
    html_url: str


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """One attempt of a workflow run of GitHub Actions."""

    id: int  # the same for all attempts
    name: str  # of the workflow; "" if it has none
    workflow_id: int
    path: str  # ".github/workflows/test.yml"; "" if GitHub omits it
    run_number: int  # counts the workflow's runs
    run_attempt: int  # from 1; incremented by each re-run
    event: str  # the triggering event: "pull_request", "push", "schedule"
    status: str  # "completed", "in_progress", "queued", ...
    conclusion: str | None  # "success", "failure", "timed_out", "cancelled", ...; None until it is completed
    head_sha: str
    head_branch: str  # "" if GitHub omits it
    head_owner: str | None  # owner of the repository that has the branch; None if that fork was deleted
    head_repository: str | None  # "owner/repo" that has the branch
    actor: Account  # triggered the first attempt
    triggering_actor: Account  # triggered this attempt
    html_url: str
    pull_request_numbers: tuple[int, ...]  # into this repository; GitHub lists none for a branch of a fork


@dataclass(frozen=True, slots=True)
class Release:
    id: int
    tag: str
    name: str  # "" if it has none
    body: str
    draft: bool
    prerelease: bool
    author: Account
    html_url: str
    published_at: datetime | None  # aware UTC; None for a draft
    target_commitish: str  # the branch or commit from which the tag is created if it does not exist


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on an issue or a pull request; comments on lines belong to reviews."""

    id: int
    user: Account
    body: str
    author_association: str  # "NONE", "CONTRIBUTOR", ...; not a permission
    html_url: str
    created_at: datetime | None  # aware UTC


@dataclass(frozen=True, slots=True)
class Event:
    """A verified delivery, parsed."""

    delivery: str  # GUID
    name: str  # "issues"
    action: str | None  # "opened"
    repository: Repository
    sender: Account
    installation: int | None
    issue: Issue | None
    pull_request: PullRequest | None
    review: Review | None
    comment: Comment | None
    workflow_run: WorkflowRun | None
    release: Release | None
    changed: frozenset[str]  # keys of `changes`, present for `edited`: {"title", "body"}
    payload: Mapping[str, object]  # as received

    @property
    def key(self) -> str:
        """ "issues.opened", or "push" if there is no action."""
        return event_key(self.name, self.action)

    @property
    def thread(self) -> Issue | PullRequest | None:
        return self.pull_request or self.issue
