"""Routes of GitHub for features that the demo does not use: issue types and requests for reviews."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hls_handler.github.history import CLOSED_ISSUES_QUERY, MERGED_PULL_REQUESTS_QUERY
from hls_sandbox import shapes
from hls_sandbox.github_calls import ISSUE, PULL, REPOSITORY, pushable_repository
from hls_sandbox.github_request import (
    Answer,
    Call,
    Endpoint,
    Query,
    conversation_of,
    failed,
    pull_of,
    repository_of,
    valid_fields,
)
from hls_sandbox.objects import Account, Conversation, ConversationEventKind, Document
from hls_sandbox.shapes import GitHubError
from hls_sandbox.state import State, now_utc
from hls_sandbox.world import World
from tests.github_fake import files
from tests.github_fake.issue_history import list_closed_issues, list_merged_pull_requests

ISSUE_TYPES = ("Task", "Bug", "Feature")  # GitHub's default ones of an organisation


def edit_issue(call: Call) -> Answer:
    """Set or remove (null) the type of an issue. As at GitHub, without push access it is dropped.
    Other changes are not supported.
    """
    home = repository_of(call)
    issue = conversation_of(call, home)
    name = (call.body or {}).get("type")
    found = None
    if name is not None:
        valid_fields(call.body, "type")
        known = {one["name"]: one for one in list_issue_types(call).document}
        found = known.get(name)
        if found is None:
            raise failed("Issue", "invalid", "type")
    if call.permission(home.full_name) in {"admin", "write"}:
        issue = set_type(call.state, issue, found, by=call.me)
    return Answer(shapes.issue(issue, home))


def list_issue_types(call: Call) -> Answer:
    names = ISSUE_TYPES if repository_of(call).document["owner"]["type"] == "Organization" else ()
    return Answer([{"name": name, "is_enabled": True} for name in names])


def request_reviewers(call: Call) -> Answer:
    """Request reviews. As at GitHub, one account without access rejects all."""
    home = pushable_repository(call)
    pull = pull_of(call, home)
    logins = valid_fields(call.body, "reviewers")["reviewers"]
    found = [call.state.world.accounts.get(login.lower()) for login in logins]
    if None in found or pull.author in found:
        raise GitHubError(
            422, "Reviews may only be requested from collaborators, and not from the author"
        )
    asked = {one["id"]: one for one in pull.document.get("requested_reviewers") or ()}
    asked |= {one.id: shapes.account(one) for one in found if one}
    pull = replace(pull, document={**pull.document, "requested_reviewers": [*asked.values()]})
    call.state.change(lambda world: world.with_conversation(pull))
    return Answer(shapes.pull_request(pull, home), status=201)


def set_type(
    state: State, issue: Conversation, found: Document | None, *, by: Account
) -> Conversation:
    """Set or remove the type of an issue."""
    kind: ConversationEventKind = "issue_type_removed"
    if found is not None:
        kind = "issue_type_added"
    name = str((found or {}).get("name", ""))

    def change(world: World) -> World:
        current = world.threads[issue.key.lower()]
        typed = replace(current, document={**current.document, "type": found})
        return world.with_event(typed, now_utc(), by, kind, name)

    state.change(change)
    return state.world.threads[issue.key.lower()]


ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("PATCH", ISSUE, edit_issue),
    ("GET", f"{REPOSITORY}/issue-types", list_issue_types),
    ("POST", f"{PULL}/requested_reviewers", request_reviewers),
    *files.ROUTES,
)

QUERIES: Mapping[str, Query] = {
    CLOSED_ISSUES_QUERY: list_closed_issues,
    MERGED_PULL_REQUESTS_QUERY: list_merged_pull_requests,
}
