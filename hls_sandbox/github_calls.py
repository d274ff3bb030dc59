"""Endpoints of GitHub's REST API for accounts, issues, pull requests, comments and labels.

https://docs.github.com/en/rest
"""

from __future__ import annotations

import re

from hls_sandbox import (
    app_calls,
    github_request,
    hook_calls,
    repository_calls,
    review_calls,
    shapes,
)
from hls_sandbox.github_request import (
    Answer,
    Call,
    Endpoint,
    check_length,
    conversation_of,
    existing,
    failed,
    pull_of,
    repository_of,
    require_unlocked,
)
from hls_sandbox.objects import (
    Comment,
    Conversation,
    ConversationEvent,
    Document,
    Repository,
)
from hls_sandbox.shapes import GitHubError

MAX_FILES = 3000
REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
MAX_LABELS = 100  # on one issue or pull request
MAX_DESCRIPTION_CHARACTERS = 100


# --- accounts and repositories
# -----------------------------------------------------------------------------


def user(call: Call) -> Answer:
    if call.is_installation or call.me.login == "github-actions[bot]":  # a workflow's token
        raise GitHubError(403, "Resource not accessible by integration")
    if not call.me.login:
        raise GitHubError(401, "Requires authentication")
    return Answer(shapes.account(call.me))


def account(call: Call) -> Answer:
    return Answer(
        shapes.account(existing(call.state.world.accounts.get(call.path["login"].lower())))
    )


def repository(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(shapes.repository(home, call.permission(home.full_name)))


def collaborator_permission(call: Call) -> Answer:
    home = repository_of(call)
    login = call.path["user"]
    return Answer({"permission": existing(call.state.permission(home.full_name, login))})


# --- issues and pull requests
# -----------------------------------------------------------------------------


def issues(call: Call) -> Answer:
    """Filter issues and pull requests by the query's `state`."""
    home = repository_of(call)
    found = _conversations_of(call, home, call.query.get("state", "open"))
    return Answer([shapes.issue(one, home) for one in found], listed=True)


def _conversations_of(call: Call, home: Repository, state: str) -> list[Conversation]:
    found = [
        one
        for one in call.state.conversations()
        if one.repository == home.full_name and state in {"all", one.state}
    ]
    return sorted(found, key=lambda one: one.number, reverse=True)


def issue(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(shapes.issue(conversation_of(call, home), home))


def timeline(call: Call) -> Answer:
    """Return the changes of labels and of the type. Other entries are left out."""
    issue = conversation_of(call, repository_of(call))
    return Answer([*map(_timeline_event, issue.events)], listed=True)


def _timeline_event(event: ConversationEvent) -> Document:
    entry: Document = {
        "id": event.id,
        "event": event.kind,
        "actor": shapes.account(event.actor),
        "created_at": shapes.stamp(event.at),
    }
    if event.kind in ("labeled", "unlabeled"):
        entry["label"] = {"name": event.detail}
    return entry


def pull_request(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(shapes.pull_request(pull_of(call, home), home))


def pull_request_files(call: Call) -> Answer:
    return Answer([*pull_of(call, repository_of(call)).files[:MAX_FILES]], listed=True)


def pull_requests(call: Call) -> Answer:
    """Filter pull requests by the query's `state` and `head`. A `head` without owner, such as
    "main", is ignored.
    """
    home = repository_of(call)
    head = call.query.get("head", "")
    found = _conversations_of(call, home, call.query.get("state", "open"))
    pulls = [one for one in found if one.kind == "pull"]
    if ":" in head:
        pulls = [pull for pull in pulls if (pull.document.get("head") or {}).get("label") == head]
    # not in lists
    counts = {
        "additions",
        "deletions",
        "changed_files",
        "commits",
        "comments",
        "review_comments",
    }
    whole = [shapes.pull_request(pull, home) for pull in pulls]
    return Answer(
        [{key: one[key] for key in one if key not in counts} for one in whole], listed=True
    )


# --- comments
# -----------------------------------------------------------------------------


def comments(call: Call) -> Answer:
    conversation = conversation_of(call, repository_of(call))
    return Answer(
        [shapes.comment(conversation, comment) for comment in conversation.comments], listed=True
    )


def create_comment(call: Call) -> Answer:
    home = repository_of(call)
    conversation = conversation_of(call, home)
    body = github_request.comment_body(call.body)
    require_unlocked(conversation)
    return Answer(
        shapes.comment(conversation, call.state.create_comment(conversation, body, by=call.me)),
        status=201,
    )


def comment(call: Call) -> Answer:
    return Answer(shapes.comment(*_comment(call, repository_of(call))))


def edit_comment(call: Call) -> Answer:
    home = repository_of(call)
    conversation, known = _comment(call, home)
    body = github_request.comment_body(call.body)
    require_unlocked(conversation)
    if known.author.id != call.me.id:
        raise GitHubError(403, "Must have admin rights to Repository.")
    return Answer(shapes.comment(conversation, call.state.edit_comment(conversation, known, body)))


def create_reaction(call: Call) -> Answer:
    """React to a comment, also on a line of a pull request: 201, or 200 if the account has reacted
    so before.
    """
    content = github_request.valid_fields(call.body, "content")["content"]
    if content not in REACTIONS:
        raise failed("Reaction", "invalid", "content")
    home = repository_of(call)
    is_new = existing(
        call.state.react(home.full_name, int(call.path["id"]), call.me.login, content)
    )
    return Answer(
        {"user": shapes.account(call.me), "content": content}, status=201 if is_new else 200
    )


# --- labels
# -----------------------------------------------------------------------------


def repository_labels(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(
        [shapes.label(home.full_name, label) for label in home.labels.values()], listed=True
    )


def repository_label(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(
        shapes.label(home.full_name, existing(home.labels.get(call.path["name"].lower())))
    )


def create_label(call: Call) -> Answer:
    home = pushable_repository(call)
    given = {
        "color": "ededed",
        "description": None,
        **github_request.valid_fields(call.body, "name"),
    }
    name = github_request.label_name(given["name"])
    color = given["color"]
    if not re.fullmatch(r"[0-9a-fA-F]{6}", color):
        raise failed("Label", "invalid", "color")
    check_length("Label", "description", given["description"] or "", MAX_DESCRIPTION_CHARACTERS)
    if name.lower() in home.labels:
        raise failed("Label", "already_exists", "name")
    call.state.create_label(home.full_name, name, color, given["description"])
    return Answer(
        shapes.label(home.full_name, repository_of(call).labels[name.lower()]), status=201
    )


def conversation_labels(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(shapes.conversation_labels(conversation_of(call, home), home), listed=True)


def add_labels(call: Call) -> Answer:
    home = pushable_repository(call)
    conversation = conversation_of(call, home)
    given = (
        call.body
        if isinstance(call.body, list)
        else github_request.valid_fields(call.body, "labels")["labels"]
    )
    names = tuple(map(github_request.label_name, given))
    if len({name.lower() for name in (*conversation.labels, *names)}) > MAX_LABELS:
        raise failed("Label", "custom", "labels", f"issues may only have {MAX_LABELS} labels")
    labelled = call.state.add_labels(conversation, names, by=call.me)
    return Answer(shapes.conversation_labels(labelled, repository_of(call)))


def remove_label(call: Call) -> Answer:
    home = pushable_repository(call)
    conversation = conversation_of(call, home)
    name = call.path["name"]
    if name.lower() not in {known.lower() for known in conversation.labels}:
        raise GitHubError(404, "Label does not exist")
    return Answer(
        shapes.conversation_labels(call.state.remove_label(conversation, name, by=call.me), home)
    )


# --- look-ups that raise `GitHubError`
# -----------------------------------------------------------------------------


def pushable_repository(call: Call) -> Repository:
    home = repository_of(call)
    if call.permission(home.full_name) not in {"admin", "write"}:
        raise GitHubError(403, "Resource not accessible by personal access token")
    return home


def _comment(call: Call, home: Repository) -> tuple[Conversation, Comment]:
    found = call.state.find_comment(home.full_name, int(call.path["id"]))
    return existing(found)


REPOSITORY = "/repos/{owner}/{repo}"
ISSUE = f"{REPOSITORY}/issues/{{number:int}}"
ISSUE_COMMENT = f"{REPOSITORY}/issues/comments/{{id:int}}"
PULL = f"{REPOSITORY}/pulls/{{number:int}}"

ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "/user", user),
    ("GET", "/users/{login}", account),
    ("GET", REPOSITORY, repository),
    ("GET", f"{REPOSITORY}/collaborators/{{user}}/permission", collaborator_permission),
    ("GET", f"{REPOSITORY}/issues", issues),
    ("GET", ISSUE, issue),
    ("GET", f"{ISSUE}/timeline", timeline),
    ("GET", f"{ISSUE}/comments", comments),
    ("POST", f"{ISSUE}/comments", create_comment),
    ("GET", ISSUE_COMMENT, comment),
    ("PATCH", ISSUE_COMMENT, edit_comment),
    ("POST", f"{ISSUE_COMMENT}/reactions", create_reaction),
    ("POST", f"{REPOSITORY}/pulls/comments/{{id:int}}/reactions", create_reaction),
    ("GET", f"{ISSUE}/labels", conversation_labels),
    ("POST", f"{ISSUE}/labels", add_labels),
    ("DELETE", f"{ISSUE}/labels/{{name:path}}", remove_label),
    ("GET", f"{REPOSITORY}/labels", repository_labels),
    ("POST", f"{REPOSITORY}/labels", create_label),
    ("GET", f"{REPOSITORY}/labels/{{name:path}}", repository_label),
    ("GET", f"{REPOSITORY}/pulls", pull_requests),
    ("GET", PULL, pull_request),
    ("GET", f"{PULL}/files", pull_request_files),
    *review_calls.ROUTES,
    *repository_calls.ROUTES,
    *app_calls.ROUTES,
    *hook_calls.ROUTES,
)
"""(method, path, endpoint) of each route."""
