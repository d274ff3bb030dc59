"""All objects of the stand-in GitHub as one frozen value, with methods that return a changed
copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from hls_sandbox.objects import (
    Account,
    App,
    Conversation,
    ConversationEvent,
    ConversationEventKind,
    Document,
    Installation,
    Label,
    Permission,
    Release,
    Repository,
    Run,
)


@dataclass(frozen=True, slots=True)
class World:
    """All objects of the stand-in GitHub. Case in repository names is ignored."""

    accounts: Mapping[str, Account] = field(default_factory=dict)
    repositories: Mapping[str, Repository] = field(default_factory=dict)
    # the name in stored state files
    threads: Mapping[str, Conversation] = field(default_factory=dict)
    runs: Mapping[str, Run] = field(default_factory=dict)
    releases: Mapping[str, Release] = field(default_factory=dict)
    # commits by repository, oldest first
    history: Mapping[str, tuple[Document, ...]] = field(default_factory=dict)
    # "owner/repo@v1.2.0" (tag or branch) to the commit's SHA
    refs: Mapping[str, str] = field(default_factory=dict)
    # "owner/repo@branch:path" to text; repository in lower case
    files: Mapping[str, str] = field(default_factory=dict)
    # "owner/repo@login", where a test set one
    permissions: Mapping[str, Permission] = field(default_factory=dict)
    apps: Mapping[str, App] = field(default_factory=dict)  # by slug
    installations: tuple[Installation, ...] = ()
    # by "owner/repo/7", the last created last
    check_runs: Mapping[str, Document] = field(default_factory=dict)
    # by "owner/repo@sha", oldest first
    statuses: Mapping[str, tuple[Document, ...]] = field(default_factory=dict)
    next_id: int = 3_000_000_001

    def repository(self, full_name: str) -> Repository | None:
        return self.repositories.get(full_name.lower())

    def conversation(self, full_name: str, number: int) -> Conversation | None:
        return self.threads.get(f"{full_name}#{number}".lower())

    def run(self, full_name: str, run_id: int) -> Run | None:
        return self.runs.get(f"{full_name}/runs/{run_id}".lower())

    def commit_at(self, full_name: str, ref: str) -> str | None:
        """Resolve a tag, a branch or a full SHA to the SHA of a commit; None if there is no such
        commit.
        """
        named = self.refs.get(f"{full_name.lower()}@{ref}")
        known = {str(commit["sha"]) for commit in self.history.get(full_name.lower(), ())}
        return named or (ref if ref in known else None)

    def commits_between(self, full_name: str, base: str, head: str) -> tuple[Document, ...] | None:
        """Return the commits in head and not in base, oldest first, for tags, branches or SHAs;
        None if unknown.
        """
        commits = self.history.get(full_name.lower(), ())
        positions = {str(commit["sha"]): position for position, commit in enumerate(commits)}
        first, last = (positions.get(self.commit_at(full_name, ref) or "") for ref in (base, head))
        return None if first is None or last is None else commits[first + 1 : last + 1]

    def with_run(self, run: Run) -> World:
        """Return a copy in which `run` is stored as the most recently changed run."""
        key = run.key.lower()
        return replace(self, runs={**{k: r for k, r in self.runs.items() if k != key}, key: run})

    def with_release(self, release: Release) -> World:
        return replace(self, releases={**self.releases, release.key.lower(): release})

    def with_commit(self, full_name: str, commit: Document) -> World:
        """Return a copy with `commit` appended to the history, unless the history contains it."""
        commits = self.history.get(full_name.lower(), ())
        if any(known["sha"] == commit["sha"] for known in commits):
            return self
        return replace(self, history={**self.history, full_name.lower(): (*commits, commit)})

    def with_ref(self, full_name: str, ref: str, sha: str) -> World:
        return replace(self, refs={**self.refs, f"{full_name.lower()}@{ref}": sha})

    def file_at(self, full_name: str, branch: str, path: str) -> str | None:
        return self.files.get(f"{full_name.lower()}@{branch}:{path}")

    def check_runs_on(self, full_name: str, sha: str) -> list[Document]:
        """Return the check runs of a commit, oldest first."""
        prefix = f"{full_name.lower()}/"
        return [
            run
            for key, run in self.check_runs.items()
            if key.startswith(prefix) and run["head_sha"] == sha
        ]

    def with_check_run(self, full_name: str, run: Document) -> World:
        """Return a copy with a new or changed check run."""
        next_id = max(self.next_id, int(run["id"]) + 1)
        check_runs = {**self.check_runs, f"{full_name.lower()}/{run['id']}": run}
        return replace(self, check_runs=check_runs, next_id=next_id)

    def statuses_on(self, full_name: str, sha: str) -> tuple[Document, ...]:
        """Return the statuses of a commit, oldest first."""
        return self.statuses.get(f"{full_name.lower()}@{sha}", ())

    def with_status(self, full_name: str, status: Document) -> World:
        key = f"{full_name.lower()}@{status['sha']}"
        statuses = {**self.statuses, key: (*self.statuses.get(key, ()), status)}
        return replace(self, statuses=statuses, next_id=self.next_id + 1)

    def with_account(self, account: Account) -> World:
        return replace(self, accounts={**self.accounts, account.login.lower(): account})

    def app(self, app_id: int) -> App | None:
        return next((app for app in self.apps.values() if app.id == app_id), None)

    def with_app(self, app: App) -> World:
        return replace(self, apps={**self.apps, app.slug: app})

    def with_installation(self, installation: Installation) -> World:
        """Return a copy with the installation, which replaces an earlier one of the App on the same
        account.
        """
        place = (installation.app_id, installation.account.login.lower())
        others = [
            one for one in self.installations if (one.app_id, one.account.login.lower()) != place
        ]
        return replace(self, installations=(*others, installation))

    def with_repository(self, repository: Repository) -> World:
        return replace(
            self, repositories={**self.repositories, repository.full_name.lower(): repository}
        )

    def with_conversation(self, conversation: Conversation) -> World:
        """Return a copy in which `conversation` is stored as the most recently changed issue or
        pull request.
        """
        key = conversation.key.lower()
        return replace(
            self, threads={**{k: t for k, t in self.threads.items() if k != key}, key: conversation}
        )

    def with_label(
        self, full_name: str, name: str, color: str = "ededed", description: str | None = None
    ) -> World:
        """Return a copy in which the repository has the label. An existing label stays
        unchanged.
        """
        repository = self.repositories[full_name.lower()]
        if name.lower() in repository.labels:
            return self
        label = Label(id=self.next_id, name=name, color=color.lower(), description=description)
        labelled = replace(repository, labels={**repository.labels, name.lower(): label})
        return replace(self.with_repository(labelled), next_id=self.next_id + 1)

    def with_event(
        self,
        conversation: Conversation,
        at: datetime,
        actor: Account,
        kind: ConversationEventKind,
        detail: str,
    ) -> World:
        event = ConversationEvent(id=self.next_id, at=at, actor=actor, kind=kind, detail=detail)
        world = self.with_conversation(replace(conversation, events=(*conversation.events, event)))
        return replace(world, next_id=self.next_id + 1)

    def with_conversation_label(self, key: str, name: str, actor: Account, at: datetime) -> World:
        """Return a copy in which the issue or pull request `key` ("owner/repo#7") has the label."""
        conversation = self.threads[key.lower()]
        if name.lower() in {known.lower() for known in conversation.labels}:
            return self
        spelled = self.repositories[conversation.repository.lower()].labels[name.lower()].name
        labelled = replace(conversation, labels=(*conversation.labels, spelled))
        return self.with_event(labelled, at, actor, "labeled", spelled)

    def without_conversation_label(
        self, key: str, name: str, actor: Account, at: datetime
    ) -> World:
        """Return a copy in which the issue or pull request `key` ("owner/repo#7") does not have the
        label.
        """
        conversation = self.threads[key.lower()]
        others = tuple(known for known in conversation.labels if known.lower() != name.lower())
        if others == conversation.labels:
            return self
        return self.with_event(replace(conversation, labels=others), at, actor, "unlabeled", name)
