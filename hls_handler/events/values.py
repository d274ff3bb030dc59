"""What events tell of, as frozen values: accounts, threads, reviews, runs, releases, comments, and the event itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from hls_handler.events.names import event_key, is_bot


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
    """An issue as GitHub shows it. Also the conversation of a pull request is one."""

    number: int
    title: str
    body: str  # "" where GitHub has null
    user: Account
    state: Literal["open", "closed"]
    locked: bool
    labels: tuple[Label, ...]
    author_association: str  # "NONE", "CONTRIBUTOR", ...; not a permission
    html_url: str
    is_pull_request: bool = False  # told as an issue


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
    """What one person handed in about a pull request; its comments on lines are read for themselves."""

    id: int
    user: Account
    state: ReviewState
    body: str
    commit_id: str  # the commit that was reviewed
    html_url: str


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """One attempt of one run of a workflow of GitHub Actions."""

    id: int  # the same for all attempts
    name: str  # the workflow's, "" where it has none
    workflow_id: int
    path: str  # ".github/workflows/test.yml"; "" where GitHub does not say
    run_number: int  # counts the workflow's runs
    run_attempt: int  # 1, or more once it was run again
    event: str  # that set it off: "pull_request", "push", "schedule"
    status: str  # "completed", "in_progress", "queued", ...
    conclusion: str | None  # "success", "failure", "timed_out", "cancelled", ...; None until it is completed
    head_sha: str
    head_branch: str  # "" where GitHub does not say
    head_owner: str | None  # login of whose repository the branch is in; None when that fork was deleted
    head_repository: str | None  # its "owner/repo"
    actor: Account  # who set off the first attempt
    triggering_actor: Account  # who set off this one
    html_url: str
    pull_request_numbers: tuple[int, ...]  # those into this repository that GitHub names: none for a fork's branch


@dataclass(frozen=True, slots=True)
class Release:
    id: int
    tag: str
    name: str  # "" where it has none
    body: str
    draft: bool
    prerelease: bool
    author: Account
    html_url: str
    published_at: datetime | None  # aware UTC; None for a draft
    target_commitish: str  # the branch or the commit that the tag is made at, if there is no such tag yet


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody wrote under an issue or a pull request; comments on lines belong to reviews."""

    id: int
    user: Account
    body: str
    author_association: str  # "NONE", "CONTRIBUTOR", ...; not a permission
    html_url: str
    created_at: datetime | None  # aware UTC


@dataclass(frozen=True, slots=True)
class Event:
    """One verified delivery, parsed."""

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
    changed: frozenset[str]  # keys of `changes`, for `edited`: {"title", "body"}
    payload: Mapping[str, object]  # as received

    @property
    def key(self) -> str:
        """ "issues.opened", or "push" where there is no action."""
        return event_key(self.name, self.action)

    @property
    def thread(self) -> Issue | PullRequest | None:
        return self.pull_request or self.issue
