"""Endpoints of GitHub's API for reviews, their comments on lines, and review threads.

https://docs.github.com/en/rest/pulls/reviews, /pulls/comments; https://docs.github.com/en/graphql
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hls_handler.review.patches import HUNK_HEADER
from hls_sandbox import github_request, shapes
from hls_sandbox.github_request import (
    MAX_COMMENT_CHARACTERS,
    Answer,
    Call,
    Endpoint,
    Query,
    comment_body,
    existing,
    pull_of,
    repository_of,
    require_unlocked,
    valid_fields,
)
from hls_sandbox.objects import Account, Conversation, Document, Repository, Review
from hls_sandbox.shapes import GitHubError
from hls_sandbox.state import State

THREADS_PER_PAGE = 50

MAX_LINKED_ISSUES = 3
CLOSING = re.compile(
    r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?"
    r" (?P<repository>[\w.-]+/[\w.-]+)?#(?P<number>[0-9]{1,9})\b",
    re.IGNORECASE,
)
"""https://docs.github.com/en/issues/tracking-your-work-with-issues/using-issues/linking-a-pull-request-to-an-issue"""

REACTIONS: Mapping[str, Literal["+1", "-1"]] = {"up": "+1", "down": "-1"}


def reviews(call: Call) -> Answer:
    pull = pull_of(call, repository_of(call))
    return Answer([shapes.review(pull, one) for one in pull.reviews], listed=True)


def comments_of_review(call: Call) -> Answer:
    pull = pull_of(call, repository_of(call))
    found = existing(pull.review(int(call.path["review"])))
    return Answer([shapes.review_comment(pull, found, one) for one in found.comments], listed=True)


def comments_of_pull(call: Call) -> Answer:
    """List the comments on lines, oldest first. With `sort=created`, `direction=desc` reverses the
    order.
    """
    pull = pull_of(call, repository_of(call))
    shown = [shapes.review_comment(pull, review, one) for review, one in pull.review_comments()]
    shown.sort(key=lambda one: (one["created_at"], one["id"]))
    if call.query.get("sort") == "created" and call.query.get("direction") == "desc":
        shown.reverse()
    return Answer(shown, listed=True)


def create_review(call: Call) -> Answer:
    """Create a review with the event COMMENT, the only one that HLS uses. One invalid comment
    rejects all.
    """
    pull = pull_of(call, repository_of(call))
    given = valid_fields(call.body, "event")
    if given["event"] != "COMMENT":
        raise GitHubError(
            422,
            "Unprocessable Entity",
            ("The sandbox accepts only reviews with the event COMMENT",),
        )
    require_unlocked(pull)
    if not given.get("body", "").strip():
        raise GitHubError(422, "Unprocessable Entity", ("Body can't be blank",))
    commit = given.get("commit_id", pull.head_sha)
    if commit != pull.head_sha:  # stricter than GitHub, which accepts earlier commits of the branch
        raise GitHubError(
            422, "Unprocessable Entity", ("The commitOID is not part of the pull request",)
        )
    checked = [_check_comment(pull, one) for one in given.get("comments", [])]
    problems = dict.fromkeys(problem for one in checked for problem in one.problems)
    if problems:  # GitHub does not say which comment is meant either
        raise GitHubError(422, "Unprocessable Entity", tuple(problems))
    pull, made = call.state.create_review(
        pull, given["body"], commit, [one.document for one in checked], by=call.me
    )
    return Answer(shapes.review(pull, made), webhooks=list_webhooks(call.state, pull, made))


def get_comment(call: Call) -> Answer:
    pull, review, document = _find_comment(call, repository_of(call))
    return Answer(shapes.review_comment(pull, review, document))


def edit_comment(call: Call) -> Answer:
    pull, review, document = _find_comment(call, repository_of(call))
    require_unlocked(pull)
    if review.author.id != call.me.id:
        raise GitHubError(403, "Must have admin rights to Repository.")
    edited = {**document, "body": comment_body(call.body)}
    call.state.edit_review_comment(pull, edited)
    return Answer(shapes.review_comment(pull, review, edited))


def _find_comment(call: Call, home: Repository) -> tuple[Conversation, Review, Document]:
    for pull in call.state.conversations():
        for review, document in pull.review_comments():
            if pull.repository == home.full_name and document["id"] == int(call.path["id"]):
                return pull, review, document
    raise GitHubError(404, "Not Found")


def reply(call: Call) -> Answer:
    """Reply to the first comment of a review thread. As at GitHub, the reply is a review of its own
    without a body.
    """
    pull = pull_of(call, repository_of(call))
    body = comment_body(call.body)
    require_unlocked(pull)
    pull, made = existing(add_reply(call.state, pull, int(call.path["id"]), body, by=call.me))
    shown = shapes.review_comment(pull, made, made.comments[0])
    return Answer(shown, status=201, webhooks=list_webhooks(call.state, pull, made))


def add_reply(
    state: State, pull: Conversation, first_id: int, body: str, *, by: Account
) -> tuple[Conversation, Review] | None:
    """Add a reply to the review thread that begins with a comment; None if no thread begins with
    it.
    """
    first = next((one for _, one in pull.review_comments() if one["id"] == first_id), None)
    if first is None or first.get("in_reply_to_id") is not None:
        return None
    keys = (
        "path",
        "line",
        "original_line",
        "side",
        "start_line",
        "original_start_line",
        "start_side",
        "diff_hunk",
    )
    document = {
        **{key: first[key] for key in keys if key in first},
        "body": body,
        "in_reply_to_id": first_id,
    }
    return state.create_review(pull, "", pull.head_sha, [document], by=by)


def list_webhooks(
    state: State, pull: Conversation, review: Review
) -> tuple[tuple[str, Document], ...]:
    """Return the events and payloads of a new review and its comments."""
    common = _common(state, pull, review.author)
    shown = {**shapes.review(pull, review), "state": review.state}
    of_comments = (
        {"action": "created", "comment": shapes.review_comment(pull, review, one), **common}
        for one in review.comments
    )
    return (
        ("pull_request_review", {"action": "submitted", "review": shown, **common}),
        *(("pull_request_review_comment", payload) for payload in of_comments),
    )


def thread_payload(
    state: State, pull: Conversation, first_id: int, action: str, *, by: Account
) -> Document:
    """Return the payload of `pull_request_review_thread`; `action` is "resolved" or
    "unresolved".
    """
    comments = [
        shapes.review_comment(pull, review, one)
        for review, one in pull.review_comments()
        if first_id in (one["id"], one.get("in_reply_to_id"))
    ]
    return {"action": action, "thread": {"comments": comments}, **_common(state, pull, by)}


def _common(state: State, pull: Conversation, sender: Account) -> Document:
    home = state.repository(pull.repository)
    assert home is not None
    return {
        "pull_request": shapes.pull_request(pull, home),
        "repository": home.document,
        "sender": shapes.account(sender),
    }


# --- positions
# -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckedComment:
    document: Document
    problems: tuple[str, ...]  # in GitHub's words


def _check_comment(pull: Conversation, given: Any) -> CheckedComment:
    """Check a comment of a new review against the patch. Raises `GitHubError` if a field is missing
    or unknown.
    """
    comment = valid_fields(given, "path", "body", "line")
    side = comment.get("side", "RIGHT")
    line = comment["line"]
    start = comment.get("start_line")
    start_side = comment.get("start_side", side)
    file = next((file for file in pull.files if file["filename"] == comment["path"]), None)
    hunks = [hunk for hunk in _hunks(str((file or {}).get("patch") or "")) if (side, line) in hunk]
    problems = []
    if not comment["body"].strip() or len(comment["body"]) > MAX_COMMENT_CHARACTERS:
        problems.append(f"Body can't be blank or longer than {MAX_COMMENT_CHARACTERS} characters")
    if file is None:
        problems.append("Pull request review thread path is invalid")
    elif not hunks:
        problems.append(
            "Pull request review thread line must be part of the diff and Pull request review"
            " thread diff hunk can't be blank"
        )
    elif start is not None and (start_side, start) not in hunks[0]:
        problems.append(
            "Pull request review thread start line must be part of the same hunk as the line."
        )
    elif start is not None and start >= line and start_side == side:
        problems.append("Pull request review thread start line must precede the end line.")
    document = {**comment, "side": side, "original_line": line, "original_start_line": start}
    if start is not None:
        document["start_side"] = start_side
    return CheckedComment(
        {**document, "diff_hunk": hunks[0][side, line] if hunks else ""}, tuple(problems)
    )


def _hunks(patch: str) -> Iterator[Mapping[tuple[str, int], str]]:
    """Yield the lines of each hunk as {(side, number): the hunk up to the line}. An unchanged line
    has both sides.
    """
    lines: dict[tuple[str, int], str] = {}
    old = new = 0
    hunk: list[str] = []
    for raw in patch.split("\n"):
        header = HUNK_HEADER.match(raw)
        if header is not None:
            yield lines
            lines = {}
            hunk = [raw]
            old = int(header[1])
            new = int(header[3])
            continue
        hunk.append(raw)
        if not raw.startswith(("+", "\\")):
            lines["LEFT", old] = "\n".join(hunk)
            old += 1
        if not raw.startswith(("-", "\\")):
            lines["RIGHT", new] = "\n".join(hunk)
            new += 1
    yield lines


# --- GraphQL
# -----------------------------------------------------------------------------


def query(
    state: State,
    body: Any,
    *,
    me: Account,
    can_read: Callable[[str], bool],
    queries: Mapping[str, Query],
) -> Document:
    """Return the response to a GraphQL query of `me`. `can_read` returns True if the token can read
    "owner/repo". `queries` are further ones.

    The sandbox knows the queries of HLS, which `tests/contracts` checks, except those of
    `hls_handler.github.history`. Errors also have the status 200.
    """
    given = github_request.valid_fields(body, "query", "variables")
    variables = given["variables"]
    expressions = [
        variables[f"e{index}"] for index in range(len(variables)) if f"e{index}" in variables
    ]
    if not variables:
        return {"data": {"viewer": {"login": me.login, "id": me.id}}}
    full_name = f"{variables['owner']}/{variables['name']}"
    home = state.repository(full_name)
    if home is None or not can_read(home.full_name):
        return _graphql_error(
            "NOT_FOUND", f"Could not resolve to a Repository with the name '{full_name}'."
        )
    if given["query"] in queries:
        part = queries[given["query"]](state, home.full_name, variables)
        return {"data": {"repository": part}}
    if "first" in variables:
        message = "The sandbox has no history of closed issues and merged pull requests."
        return _graphql_error("UNPROCESSABLE", message)
    blobs = {f"f{index}": _blob(state, full_name, one) for index, one in enumerate(expressions)}
    if blobs and "attributes" not in variables:
        return {"data": {"repository": blobs}}
    pull = state.conversation(full_name, variables["number"])
    if pull is None or pull.kind != "pull":
        message = f"Could not resolve to a PullRequest with the number of {variables['number']}."
        return _graphql_error("NOT_FOUND", message)
    if "attributes" in variables:
        return {"data": {**review_context(state, pull, variables), "guidance": blobs}}
    if "after" in variables:
        return {"data": review_threads(pull, after=int(variables["after"] or 0))}
    return {"data": merge_state(pull)}


def merge_state(pull: Conversation) -> Document:
    """Return the `data` of the response to `MERGE_STATE_QUERY`. No branch of the sandbox has
    rules.
    """
    decisions = [
        one.state.upper() for one in pull.reviews if one.state in ("approved", "changes_requested")
    ]
    found: Document = {
        "mergeable": "MERGEABLE",
        "mergeStateStatus": "CLEAN",
        "baseRef": None,
        "commits": {"nodes": []},
    }
    found["reviewDecision"] = decisions[-1] if decisions else None
    return {"repository": {"pullRequest": found}}


def review_context(state: State, pull: Conversation, variables: Mapping[str, Any]) -> Document:
    """Return the `data` of the response to `review_context_query`, without the guidance."""
    attributes = _blob(state, pull.repository, variables["attributes"])
    issues = [
        {
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "repository": {"id": issue.repository.lower()},
        }
        for issue in _closed_by(state, pull)[:MAX_LINKED_ISSUES]
    ]
    repository: Document = {
        "id": pull.repository.lower(),
        "attributes": attributes,
        "pullRequest": {"closingIssuesReferences": {"nodes": issues}},
    }
    return {"repository": repository}


def _blob(state: State, full_name: str, expression: str) -> Document | None:
    """Return the file at "refs/heads/main:path" or "SHA:path"; None if there is none."""
    ref, _, path = expression.partition(":")
    text = state.world.file_at(full_name, ref.removeprefix("refs/heads/"), path)
    if text is None:
        return None
    content = text.encode()
    is_binary = "\0" in text
    return {
        "oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
        "text": None if is_binary else text,
        "byteSize": len(content),
        "isTruncated": False,
        "isBinary": is_binary,
    }


def _closed_by(state: State, pull: Conversation) -> list[Conversation]:
    """Return the issues that the description names with a closing keyword, in its order."""
    names = (
        (found["repository"] or pull.repository, int(found["number"]))
        for found in CLOSING.finditer(pull.body)
    )
    found = (state.conversation(*name) for name in dict.fromkeys(names))
    return [issue for issue in found if issue is not None and issue.kind == "issue"]


def _graphql_error(kind: str, message: str) -> Document:
    return {"data": None, "errors": [{"type": kind, "path": ["repository"], "message": message}]}


def review_threads(pull: Conversation, *, after: int) -> Document:
    """Return the `data` of the response to `REVIEW_THREADS_QUERY`: a page of threads after the
    first `after` ones.
    """
    comments = pull.review_comments()
    first_ones = [one for one in comments if one[1].get("in_reply_to_id") is None]
    shown = first_ones[after : after + THREADS_PER_PAGE]
    end = after + len(shown)
    nodes = [_thread(pull, first["id"], comments) for _, first in shown]
    page = {"hasNextPage": end < len(first_ones), "endCursor": str(end) if shown else None}
    return {"repository": {"pullRequest": {"reviewThreads": {"pageInfo": page, "nodes": nodes}}}}


def _thread(
    pull: Conversation, first: int, comments: Sequence[tuple[Review, Document]]
) -> Document:
    comments = [one for one in comments if first in (one[1]["id"], one[1].get("in_reply_to_id"))]
    resolved_by = pull.resolved.get(first)
    reactions = [one for one in pull.reactions if one.comment == first]
    thumbs = {
        name: {
            "nodes": [{"user": {"login": one.login}} for one in reactions if one.content == content]
        }
        for name, content in REACTIONS.items()
    }
    return {
        "isResolved": resolved_by is not None,
        "line": comments[0][1].get("line"),
        "resolvedBy": {"login": resolved_by} if resolved_by is not None else None,
        "first": {"nodes": [{"fullDatabaseId": str(first), **thumbs}]},
        "comments": {
            "nodes": [
                {"author": shapes.actor(review.author), "body": one.get("body", "")}
                for review, one in comments[:100]
            ]
        },
    }


PULL = "/repos/{owner}/{repo}/pulls/{number:int}"
COMMENT = "/repos/{owner}/{repo}/pulls/comments/{id:int}"

ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", f"{PULL}/reviews", reviews),
    ("POST", f"{PULL}/reviews", create_review),
    ("GET", f"{PULL}/reviews/{{review:int}}/comments", comments_of_review),
    ("GET", f"{PULL}/comments", comments_of_pull),
    ("POST", f"{PULL}/comments/{{id:int}}/replies", reply),
    ("GET", COMMENT, get_comment),
    ("PATCH", COMMENT, edit_comment),
)
"""(method, path, endpoint) of each route."""
