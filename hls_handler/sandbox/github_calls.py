"""Endpoints of GitHub's REST API for accounts, issues, pull requests, comments and labels.

https://docs.github.com/en/rest
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

from starlette.routing import compile_path

from hls_handler.sandbox import check_calls, github_request, hook_calls, repository_calls, review_calls, shapes
from hls_handler.sandbox.github_request import (
    LOCKED,
    Answer,
    Call,
    GitHubError,
    accepted_permissions,
    conversation_of,
    pull_of,
    repository_of,
    writable_repository,
)
from hls_handler.sandbox.objects import Comment, Conversation, Document, Repository
from hls_handler.sandbox.state import State

MAX_FILES = 3000

Endpoint = Callable[[Call], Answer]


# --- accounts and repositories ---------------------------------------------------------------------------------------


def user(call: Call) -> Answer:
    if call.is_installation:
        raise GitHubError(403, "Resource not accessible by integration")
    return Answer(shapes.profile(call.me))


def account(call: Call) -> Answer:
    found = call.state.world.accounts.get(call.path["login"].lower())
    if found is None:
        raise GitHubError(404, "Not Found")
    return Answer(shapes.profile(found))


def repository(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(shapes.repository(home, call.permission(home.full_name)))


def collaborator_permission(call: Call) -> Answer:
    home, login = repository_of(call), call.path["user"]
    permission = call.state.permission(home.full_name, login)
    if permission is None:
        raise GitHubError(404, "Not Found")
    who = call.state.world.accounts[login.lower()]
    role = {"permission": permission, "role_name": permission}
    return Answer({**role, "user": {**shapes.account(who), "role_name": permission}})


# --- issues and pull requests ----------------------------------------------------------------------------------------


def issue(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(shapes.issue(conversation_of(call, home), home))


def pull_request(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(shapes.pull_request(pull_of(call, home), home))


def pull_request_files(call: Call) -> Answer:
    return Answer([*pull_of(call, repository_of(call)).files[:MAX_FILES]], listed=True)


def pull_requests(call: Call) -> Answer:
    """Filter pull requests by the query's `state` and `head`. A `head` without owner, such as "main", is ignored."""
    home, state, head = repository_of(call), call.query.get("state", "open"), call.query.get("head", "")
    if state not in {"open", "closed", "all"}:
        raise github_request.failed("PullRequest", "invalid", "state")
    found = [pull for pull in _pulls(call.state, home) if state in {"all", pull.state}]
    if ":" in head:
        found = [pull for pull in found if (pull.document.get("head") or {}).get("label") == head]
    return Answer([_listed_pull(pull, home) for pull in found], listed=True)


def _listed_pull(pull: Conversation, home: Repository) -> Document:
    counts = {"additions", "deletions", "changed_files", "commits", "comments", "review_comments"}  # not in lists
    return {key: value for key, value in shapes.pull_request(pull, home).items() if key not in counts}


def commit_pulls(call: Call) -> Answer:
    """Return the pull requests whose head commit is the path's `sha`, except pull requests from forks."""
    home, sha = repository_of(call), call.path["sha"]
    found = [pull for pull in _pulls(call.state, home) if pull.head_sha == sha and _head_home(pull) == home.full_name]
    return Answer([_listed_pull(pull, home) for pull in found], listed=True)


def conversation_events(call: Call) -> Answer:
    home = repository_of(call)
    conversation = conversation_of(call, home)
    listed = [event for event in conversation.events if event.kind not in shapes.UNLISTED_EVENTS]
    return Answer([shapes.event(conversation, event, home) for event in listed], listed=True)


# --- comments --------------------------------------------------------------------------------------------------------


def comments(call: Call) -> Answer:
    conversation = conversation_of(call, repository_of(call))
    return Answer([_shown(call.state, conversation, comment) for comment in conversation.comments], listed=True)


def create_comment(call: Call) -> Answer:
    home = writable_repository(call)
    conversation = conversation_of(call, home)
    body = github_request.comment_body(call.body)
    if conversation.locked:
        raise GitHubError(403, "Unable to create comment because issue is locked.", documentation_url=LOCKED)
    made = call.state.create_comment(conversation, body, by=call.me)
    document = _shown(call.state, conversation, made)
    return Answer(document, status=201, headers={"Location": document["url"]})


def comment(call: Call) -> Answer:
    return Answer(_shown(call.state, *_comment(call, repository_of(call))))


def edit_comment(call: Call) -> Answer:
    home = writable_repository(call)
    conversation, known = _comment(call, home)
    body = github_request.comment_body(call.body)
    if conversation.locked:
        raise GitHubError(403, "Unable to update comment because issue is locked.", documentation_url=LOCKED)
    if known.author.id != call.me.id:
        raise GitHubError(403, "Must have admin rights to Repository.", headers=accepted_permissions(call))
    return Answer(_shown(call.state, conversation, call.state.edit_comment(conversation, known, body)))


def comment_reactions(call: Call) -> Answer:
    return Answer([shapes.reaction(one) for one in _comment(call, repository_of(call))[1].reactions], listed=True)


def create_reaction(call: Call) -> Answer:
    """React to a comment: 201, or 200 if the account has reacted so before."""
    home = writable_repository(call)
    conversation, known = _comment(call, home)
    reaction, is_new = call.state.react(conversation, known, github_request.reaction_content(call.body), by=call.me)
    return Answer(shapes.reaction(reaction), status=201 if is_new else 200)


# --- labels ----------------------------------------------------------------------------------------------------------


def repository_labels(call: Call) -> Answer:
    home = repository_of(call)
    return Answer([shapes.label(home.full_name, label) for label in home.labels.values()], listed=True)


def repository_label(call: Call) -> Answer:
    home = repository_of(call)
    label = home.labels.get(call.path["name"].lower())
    if label is None:
        raise GitHubError(404, "Not Found")
    return Answer(shapes.label(home.full_name, label))


def create_label(call: Call) -> Answer:
    home = writable_repository(call)
    _must_push(call, home)
    name, color, description = github_request.new_label(call.body)
    if name.lower() in home.labels:
        raise github_request.failed("Label", "already_exists", "name")
    labelled = call.state.create_label(home.full_name, name, color, description)
    document = shapes.label(home.full_name, labelled.labels[name.lower()])
    return Answer(document, status=201, headers={"Location": document["url"]})


def conversation_labels(call: Call) -> Answer:
    home = repository_of(call)
    return Answer(shapes.conversation_labels(conversation_of(call, home), home), listed=True)


def add_labels(call: Call) -> Answer:
    home = writable_repository(call)
    _must_push(call, home)
    conversation = conversation_of(call, home)
    names = github_request.label_names(call.body)
    github_request.check_label_count([*conversation.labels, *names])
    labelled = call.state.add_labels(conversation, names, by=call.me)
    return Answer(shapes.conversation_labels(labelled, repository_of(call)))


def remove_label(call: Call) -> Answer:
    home = writable_repository(call)
    _must_push(call, home)
    conversation = conversation_of(call, home)
    name = call.path["name"]
    if name.lower() not in {known.lower() for known in conversation.labels}:
        raise GitHubError(404, "Label does not exist")
    return Answer(shapes.conversation_labels(call.state.remove_label(conversation, name, by=call.me), home))


# --- look-ups that raise `GitHubError` -------------------------------------------------------------------------------


def _must_push(call: Call, home: Repository) -> None:
    if call.permission(home.full_name) not in {"admin", "write"}:
        raise GitHubError(403, "Resource not accessible by personal access token", headers=accepted_permissions(call))


def _pulls(state: State, home: Repository) -> list[Conversation]:
    here = [conversation for conversation in state.conversations() if conversation.repository == home.full_name]
    return sorted((t for t in here if t.kind == "pull" and not t.gone), key=lambda t: t.number, reverse=True)


def _head_home(pull: Conversation) -> str | None:
    home = (pull.document.get("head") or {}).get("repo") or {}
    return home.get("full_name")


def _comment(call: Call, home: Repository) -> tuple[Conversation, Comment]:
    found = call.state.find_comment(home.full_name, int(call.path["id"]))
    if found is None or found[0].gone:
        raise GitHubError(404, "Not Found")
    return found


def _shown(state: State, conversation: Conversation, comment: Comment) -> Document:
    return shapes.comment(conversation, comment, state.association(conversation.repository, comment.author.login))


REACTIONS = "/repos/{owner}/{repo}/issues/comments/{id:int}/reactions"
ISSUES = "issues=write; pull_requests=write"

ROUTES: tuple[tuple[str, str, Endpoint, str], ...] = (
    ("GET", "/user", user, ""),
    ("GET", "/users/{login}", account, ""),
    ("GET", "/repos/{owner}/{repo}", repository, "metadata=read"),
    ("GET", "/repos/{owner}/{repo}/collaborators/{user}/permission", collaborator_permission, "metadata=read"),
    ("GET", "/repos/{owner}/{repo}/issues/{number:int}", issue, "issues=read"),
    ("GET", "/repos/{owner}/{repo}/issues/{number:int}/comments", comments, "issues=read; pull_requests=read"),
    ("POST", "/repos/{owner}/{repo}/issues/{number:int}/comments", create_comment, ISSUES),
    ("GET", "/repos/{owner}/{repo}/issues/comments/{id:int}", comment, "issues=read; pull_requests=read"),
    ("PATCH", "/repos/{owner}/{repo}/issues/comments/{id:int}", edit_comment, ISSUES),
    ("GET", REACTIONS, comment_reactions, "issues=read; pull_requests=read"),
    ("POST", REACTIONS, create_reaction, ISSUES),
    ("GET", "/repos/{owner}/{repo}/issues/{number:int}/events", conversation_events, "issues=read; pull_requests=read"),
    ("GET", "/repos/{owner}/{repo}/issues/{number:int}/labels", conversation_labels, "issues=read; pull_requests=read"),
    ("POST", "/repos/{owner}/{repo}/issues/{number:int}/labels", add_labels, ISSUES),
    ("DELETE", "/repos/{owner}/{repo}/issues/{number:int}/labels/{name:path}", remove_label, ISSUES),
    ("GET", "/repos/{owner}/{repo}/labels", repository_labels, "issues=read; pull_requests=read"),
    ("POST", "/repos/{owner}/{repo}/labels", create_label, ISSUES),
    ("GET", "/repos/{owner}/{repo}/labels/{name:path}", repository_label, "issues=read; pull_requests=read"),
    ("GET", "/repos/{owner}/{repo}/pulls", pull_requests, "pull_requests=read"),
    ("GET", "/repos/{owner}/{repo}/pulls/{number:int}", pull_request, "pull_requests=read"),
    ("GET", "/repos/{owner}/{repo}/pulls/{number:int}/files", pull_request_files, "pull_requests=read"),
    *review_calls.ROUTES,
    *repository_calls.ROUTES,
    *hook_calls.ROUTES,
    *check_calls.ROUTES,
    ("GET", "/repos/{owner}/{repo}/commits/{sha}/pulls", commit_pulls, "pull_requests=read; contents=read"),
)
"""(method, path, endpoint, permissions that a fine-grained token needs) of each route."""


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str], Endpoint], ...]:
    return tuple((method, compile_path(path)[0], endpoint) for method, path, endpoint, _ in ROUTES)


def find_endpoint(method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
    """Return the endpoint of a decoded path, and the path's parameters. Raises `GitHubError` (404)."""
    for known, pattern, endpoint in _patterns():
        match = pattern.match(path)
        if match is not None and known == method:
            return endpoint, match.groupdict()
    raise GitHubError(404, "Not Found")
