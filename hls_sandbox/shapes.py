"""REST objects and errors of the stand-in GitHub, with the fields that HLS reads.
https://docs.github.com/en/rest

URLs are those of api.github.com and github.com until `localised` replaces them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hls_sandbox.objects import (
    GHOST,
    Account,
    App,
    Comment,
    Conversation,
    Document,
    Installation,
    Job,
    Label,
    Permission,
    Release,
    Repository,
    Review,
    Run,
)

API = "https://api.github.com"
WEB = "https://github.com"
MAX_COMMITS = 250  # in a comparison


@dataclass(eq=False)
class GitHubError(Exception):
    """An error response. Not frozen, because Python sets attributes of a raised
    exception.
    """

    status: int
    message: str
    errors: tuple[Mapping[str, str] | str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    documentation_url: str = "https://docs.github.com/rest"

    def document(self) -> dict[str, Any]:
        body: dict[str, Any] = {"message": self.message}
        if self.errors:
            body["errors"] = list(self.errors)
        return {**body, "documentation_url": self.documentation_url, "status": str(self.status)}


def localised(value: Any, *, api_url: str, web_url: str) -> Any:
    """Replace GitHub's URLs in a REST object by those of the stand-in.

    Only values of keys such as `html_url` change; URLs in texts stay.
    """
    if isinstance(value, Mapping):
        return {
            key: (
                _replace_base(part, api_url, web_url)
                if isinstance(part, str) and (key in {"url", "href"} or key.endswith("_url"))
                else localised(part, api_url=api_url, web_url=web_url)
            )
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [localised(part, api_url=api_url, web_url=web_url) for part in value]
    return value


def _replace_base(url: str, api_url: str, web_url: str) -> str:
    for old, new in ((API, api_url), (WEB, web_url)):
        if url == old or url.startswith(f"{old}/"):
            return new + url[len(old) :]
    return url


def stamp(at: datetime) -> str:
    """Format a time as GitHub's API does: "2026-11-02T09:14:31Z"."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def account(who: Account) -> Document:
    return {"login": who.login, "id": who.id, "html_url": f"{WEB}/{who.login}", "type": who.type}


def actor(who: Account) -> Document | None:
    """Return the account as GraphQL shows it."""
    if who == GHOST:
        return None
    login = who.login.removesuffix("[bot]") if who.type == "Bot" else who.login
    return {"__typename": who.type, "login": login, "databaseId": who.id}


def label(repository: str, this: Label) -> Document:
    return {
        "id": this.id,
        "url": f"{API}/repos/{repository}/labels/{this.name}",
        "name": this.name,
        "color": this.color,
        "description": this.description,
    }


def repository(this: Repository, permission: Permission | None) -> Document:
    """Return the response of `GET /repos/{owner}/{repo}` with the permissions of the token's
    account.
    """
    may_write = permission in {"admin", "write"}
    permissions = {"admin": permission == "admin", "push": may_write, "triage": may_write}
    return {**this.document, "permissions": permissions}


# --- issues and pull requests
# -----------------------------------------------------------------------------


def conversation_labels(conversation: Conversation, home: Repository) -> list[Document]:
    # a deleted label is gone
    known = (home.labels.get(name.lower()) for name in conversation.labels)
    return [label(conversation.repository, one) for one in known if one]


def issue(conversation: Conversation, home: Repository) -> Document:
    """Return the response of `GET issues/{n}`, which also exists for pull requests."""
    url = f"{API}/repos/{conversation.repository}/pulls/{conversation.number}"
    shown = pull_request(conversation, home)
    return {**shown, "pull_request": {"url": url}} if conversation.kind == "pull" else shown


def pull_request(conversation: Conversation, home: Repository) -> Document:
    return {
        **conversation.document,
        "user": conversation.document.get("user") or account(conversation.author),
        "labels": conversation_labels(conversation, home),
        "comments": len(conversation.comments),
        "review_comments": len(conversation.review_comments()),
    }


def comment(conversation: Conversation, this: Comment) -> Document:
    page = "pull" if conversation.kind == "pull" else "issues"
    return {
        "id": this.id,
        "url": f"{API}/repos/{conversation.repository}/issues/comments/{this.id}",
        "html_url": (
            f"{WEB}/{conversation.repository}/{page}/{conversation.number}#issuecomment-{this.id}"
        ),
        "user": account(this.author),
        "created_at": stamp(this.created_at),
        "body": this.body,
    }


# --- reviews
# -----------------------------------------------------------------------------


def review(conversation: Conversation, this: Review) -> Document:
    """Return an entry of `GET pulls/{n}/reviews`. Its state is in upper case, unlike in
    webhooks.
    """
    return {
        "id": this.id,
        "user": account(this.author),
        "body": this.body,
        "state": this.state.upper(),
        "html_url": _review_url(conversation, f"pullrequestreview-{this.id}"),
        "submitted_at": stamp(this.submitted_at),
        "commit_id": this.commit_id or None,
    }


def review_comment(conversation: Conversation, of: Review, this: Document) -> Document:
    """Return an entry of `GET pulls/{n}/reviews/{id}/comments`. Keys that `this` lacks are
    generated.

    `line`, `side` and `original_line` are not generated, because they are optional at GitHub.
    """
    generated: Document = {
        "url": f"{API}/repos/{conversation.repository}/pulls/comments/{this['id']}",
        "commit_id": of.commit_id,
        "user": account(of.author),
        "created_at": stamp(of.submitted_at),
        "html_url": _review_url(conversation, f"discussion_r{this['id']}"),
    }
    stored = {key: value for key, value in this.items() if value is not None}
    return {**generated, **stored, "pull_request_review_id": of.id}


def _review_url(conversation: Conversation, fragment: str) -> str:
    return f"{WEB}/{conversation.repository}/pull/{conversation.number}#{fragment}"


# --- workflow runs, files, releases and commits
# ----------------------------------------------------------------------


def job(of: Run, this: Job) -> Document:
    """Return an entry of `GET actions/runs/{id}/attempts/{n}/jobs`."""
    return {
        **this.document,
        "html_url": f"{WEB}/{of.repository}/actions/runs/{of.id}/job/{this.id}",
    }


def release(this: Release) -> Document:
    """Return an entry of `GET releases`."""
    return {**this.document, "html_url": f"{WEB}/{this.repository}/releases/tag/{this.tag}"}


def comparison(commits: Sequence[Document], accounts: Mapping[str, Account]) -> Document:
    """Return the response of `GET compare/{base}...{head}` without files."""
    shown = [_commit(one, accounts) for one in commits[:MAX_COMMITS]]
    return {"total_commits": len(commits), "commits": shown}


def _commit(this: Document, accounts: Mapping[str, Account]) -> Document:
    author = this.get("author")
    login = author.get("login") if isinstance(author, Mapping) else None
    if not isinstance(login, str):
        return {**this, "author": None}
    return {**this, "author": account(accounts.get(login.lower(), Account(login, 1, "User")))}


# --- Apps
# -----------------------------------------------------------------------------


def app(this: App) -> Document:
    return {
        "id": this.id,
        "slug": this.slug,
        "owner": account(this.owner),
        "name": this.name,
        "html_url": f"{WEB}/apps/{this.slug}",
        "permissions": dict(this.permissions),
        "events": list(this.events),
    }


def installation(of: App, this: Installation) -> Document:
    return {
        "id": this.id,
        "account": account(this.account),
        "repository_selection": "all" if this.repositories is None else "selected",
        "app_id": of.id,
        "app_slug": of.slug,
        "permissions": dict(this.permissions),
        "events": list(of.events),
        "suspended_at": stamp(this.suspended_at) if this.suspended_at else None,
    }


def installation_created(of: App, this: Installation, homes: Iterable[Repository]) -> Document:
    """Return the payload of the webhook `installation.created`; `homes` are the repositories of the
    installation.
    """
    keys = ("id", "node_id", "name", "full_name", "private")
    return {
        "action": "created",
        "installation": installation(of, this),
        "repositories": [{key: home.document[key] for key in keys} for home in homes],
        "sender": account(this.account),
    }
