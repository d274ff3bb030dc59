"""REST objects about accounts, labels, issues, pull requests and comments. https://docs.github.com/en/rest

URLs are those of api.github.com and github.com until `localised` replaces them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from hls_handler.sandbox.objects import (
    DEFAULT_LABELS,
    Account,
    App,
    Comment,
    Conversation,
    ConversationEvent,
    Document,
    Installation,
    Label,
    Permission,
    Reaction,
    Repository,
    Review,
)

API = "https://api.github.com"
WEB = "https://github.com"

UNLISTED_EVENTS = frozenset({"pushed", "reviewed", "review_dismissed"})
"""Timeline events that `GET issues/{n}/events` omits. (GitHub lists dismissals of reviews, but HLS reads none.)"""


def localised(value: Any, *, api_url: str, web_url: str) -> Any:
    """Replace GitHub's URLs in a REST object by those of the stand-in.

    PyGithub does not follow URLs of other hosts. Only values of keys such as `html_url` change; URLs in texts stay.
    """
    if isinstance(value, Mapping):
        return {
            key: _replace_base(part, api_url, web_url)
            if isinstance(part, str) and (key in {"url", "href"} or key.endswith("_url"))
            else localised(part, api_url=api_url, web_url=web_url)
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


def node_id(kind: str, number: int) -> str:
    return base64.b64encode(f"{len(kind):03d}:{kind}{number}".encode()).decode()


def account(who: Account) -> Document:
    url = f"{API}/users/{who.login}"
    return {
        "login": who.login,
        "id": who.id,
        "node_id": node_id("User", who.id),
        "avatar_url": f"https://avatars.githubusercontent.com/u/{who.id}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{WEB}/{who.login}",
        "followers_url": f"{url}/followers",
        "following_url": f"{url}/following{{/other_user}}",
        "gists_url": f"{url}/gists{{/gist_id}}",
        "starred_url": f"{url}/starred{{/owner}}{{/repo}}",
        "subscriptions_url": f"{url}/subscriptions",
        "organizations_url": f"{url}/orgs",
        "repos_url": f"{url}/repos",
        "events_url": f"{url}/events{{/privacy}}",
        "received_events_url": f"{url}/received_events",
        "type": who.type,
        "site_admin": False,
    }


def profile(who: Account) -> Document:
    """Return the response of `GET /user`."""
    blank = dict.fromkeys(("name", "company", "blog", "location", "email", "hireable", "bio", "twitter_username"))
    counts = dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0)
    dates = {"created_at": "2026-01-05T08:00:00Z", "updated_at": "2026-01-05T08:00:00Z"}
    return {**account(who), **blank, **counts, **dates}


def label(repository: str, this: Label) -> Document:
    return {
        "id": this.id,
        "node_id": node_id("Label", this.id),
        "url": f"{API}/repos/{repository}/labels/{this.name}",
        "name": this.name,
        "color": this.color,
        "default": this.name in DEFAULT_LABELS,
        "description": this.description,
    }


def repository(this: Repository, permission: Permission | None) -> Document:
    """Return the response of `GET /repos/{owner}/{repo}` with the permissions of the token's account."""
    permissions = {
        "admin": permission == "admin",
        "maintain": permission == "admin",
        "push": permission in {"admin", "write"},
        "triage": permission in {"admin", "write"},
        "pull": permission != "none",
    }
    newer = {"has_discussions": False, "network_count": 0, "subscribers_count": 0}  # keys that recorded payloads lack
    return {**newer, **this.document, "permissions": permissions}


def conversation_labels(conversation: Conversation, home: Repository) -> list[Document]:
    return [label(conversation.repository, home.labels[name.lower()]) for name in conversation.labels]


def issue(conversation: Conversation, home: Repository) -> Document:
    """Return the response of `GET issues/{n}`, which also exists for pull requests."""
    url = f"{API}/repos/{conversation.repository}/issues/{conversation.number}"
    document = {**conversation.document} if conversation.kind == "issue" else _issue_of_pull(conversation, url)
    return {
        "state_reason": None,
        "active_lock_reason": None,
        **document,
        "user": document.get("user") or account(conversation.author),
        "labels": conversation_labels(conversation, home),
        "comments": len(conversation.comments),
        "closed_by": None,
        "performed_via_github_app": None,
    }


def _issue_of_pull(conversation: Conversation, url: str) -> Document:
    same = (
        "id node_id number title user state locked assignee assignees milestone created_at updated_at closed_at "
        "author_association active_lock_reason body draft html_url"
    )
    pull = f"{API}/repos/{conversation.repository}/pulls/{conversation.number}"
    web = f"{WEB}/{conversation.repository}/pull/{conversation.number}"
    return {
        **{key: conversation.document.get(key) for key in same.split()},
        "url": url,
        "repository_url": f"{API}/repos/{conversation.repository}",
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "timeline_url": f"{url}/timeline",
        "pull_request": {
            "url": pull,
            "html_url": web,
            "diff_url": f"{web}.diff",
            "patch_url": f"{web}.patch",
            "merged_at": conversation.document.get("merged_at"),
        },
    }


def pull_request(conversation: Conversation, home: Repository) -> Document:
    return {
        **conversation.document,
        "user": conversation.document.get("user") or account(conversation.author),
        "labels": conversation_labels(conversation, home),
        "comments": len(conversation.comments),
        "review_comments": sum(len(review.comments) for review in conversation.reviews),
    }


def review(conversation: Conversation, this: Review, association: str) -> Document:
    """Return an entry of `GET pulls/{n}/reviews`. Its state is in upper case, unlike in webhooks."""
    links = _review_links(conversation, f"pullrequestreview-{this.id}")
    return {
        "id": this.id,
        "node_id": node_id("PullRequestReview", this.id),
        "user": account(this.author),
        "body": this.body,
        "state": this.state.upper(),
        "html_url": links["html"]["href"],
        "pull_request_url": links["pull_request"]["href"],
        "author_association": association,
        "_links": links,
        "submitted_at": stamp(this.submitted_at),
        "commit_id": this.commit_id or None,
    }


def review_comment(conversation: Conversation, of: Review, this: Document, association: str) -> Document:
    """Return an entry of `GET pulls/{n}/reviews/{id}/comments`. Keys that `this` lacks are generated.

    `line`, `side` and `original_line` are not generated, because they are optional at GitHub.
    """
    url = f"{API}/repos/{conversation.repository}/pulls/comments/{this['id']}"
    links = {"self": {"href": url}, **_review_links(conversation, f"discussion_r{this['id']}")}
    generated: Document = {
        "url": url,
        "node_id": node_id("PullRequestReviewComment", this["id"]),
        "position": None,
        "original_position": 1,
        "commit_id": of.commit_id,
        "original_commit_id": of.commit_id,
        "user": account(of.author),
        "created_at": stamp(of.submitted_at),
        "updated_at": stamp(of.submitted_at),
        "html_url": links["html"]["href"],
        "pull_request_url": links["pull_request"]["href"],
        "author_association": association,
        "_links": links,
    }
    stored = {key: value for key, value in this.items() if value is not None}
    return {**generated, **stored, "pull_request_review_id": of.id}


def _review_links(conversation: Conversation, fragment: str) -> dict[str, dict[str, str]]:
    return {
        "html": {"href": f"{WEB}/{conversation.repository}/pull/{conversation.number}#{fragment}"},
        "pull_request": {"href": f"{API}/repos/{conversation.repository}/pulls/{conversation.number}"},
    }


REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")


def comment(conversation: Conversation, this: Comment, association: str) -> Document:
    url = f"{API}/repos/{conversation.repository}/issues/comments/{this.id}"
    page = "pull" if conversation.kind == "pull" else "issues"
    counts = {content: sum(one.content == content for one in this.reactions) for content in REACTIONS}
    return {
        "id": this.id,
        "node_id": node_id("IssueComment", this.id),
        "url": url,
        "html_url": f"{WEB}/{conversation.repository}/{page}/{conversation.number}#issuecomment-{this.id}",
        "issue_url": f"{API}/repos/{conversation.repository}/issues/{conversation.number}",
        "user": account(this.author),
        "created_at": stamp(this.created_at),
        "updated_at": stamp(this.updated_at),
        "author_association": association,
        "body": this.body,
        "reactions": {"url": f"{url}/reactions", "total_count": len(this.reactions), **counts},
        "performed_via_github_app": None,
    }


def reaction(this: Reaction) -> Document:
    return {
        "id": this.id,
        "node_id": node_id("Reaction", this.id),
        "user": account(this.by),
        "content": this.content,
        "created_at": stamp(this.at),
    }


def event(conversation: Conversation, this: ConversationEvent, home: Repository) -> Document:
    """Return an entry of `GET issues/{n}/events`."""
    document: Document = {
        "id": this.id,
        "node_id": node_id("IssueEvent", this.id),
        "url": f"{API}/repos/{conversation.repository}/issues/events/{this.id}",
        "actor": account(this.actor),
        "event": this.kind,
        "commit_id": None,
        "commit_url": None,
        "created_at": stamp(this.at),
        "performed_via_github_app": None,
    }
    if this.kind in {"labeled", "unlabeled"}:
        named = home.labels.get(this.detail.lower())
        document["label"] = {"name": this.detail, "color": named.color if named else "ededed"}
    if this.kind == "renamed":
        document["rename"] = {"from": this.detail, "to": conversation.title}
    return document


def installation(of: App, this: Installation) -> Document:
    return {
        "id": this.id,
        "account": account(this.account),
        "repository_selection": "all" if this.repositories is None else "selected",
        "access_tokens_url": f"{API}/app/installations/{this.id}/access_tokens",
        "repositories_url": f"{API}/installation/repositories",
        "html_url": f"{WEB}/settings/installations/{this.id}",
        "app_id": of.id,
        "app_slug": of.slug,
        "target_id": this.account.id,
        "target_type": this.account.type,
        "permissions": dict(this.permissions),
        "events": list(of.events),
        "created_at": stamp(this.created_at),
        "updated_at": stamp(this.created_at),
        "single_file_name": None,
        "suspended_at": stamp(this.suspended_at) if this.suspended_at else None,
        "suspended_by": None,
    }


def installation_created(of: App, this: Installation, homes: Iterable[Repository]) -> Document:
    """Return the payload of the webhook `installation.created`; `homes` are the repositories of the installation."""
    keys = ("id", "node_id", "name", "full_name", "private")
    return {
        "action": "created",
        "installation": installation(of, this),
        "repositories": [{key: home.document[key] for key in keys} for home in homes],
        "requester": None,
        "sender": account(this.account),
    }
