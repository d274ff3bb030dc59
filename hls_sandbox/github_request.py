"""Input and output of the endpoints of the stand-in GitHub, and its 4xx responses to invalid
requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from hls_sandbox.apps import Apps, InstallationToken
from hls_sandbox.objects import Account, App, Conversation, Document, Permission, Repository
from hls_sandbox.shapes import GitHubError
from hls_sandbox.state import State

MAX_COMMENT_CHARACTERS = 65_536
MAX_LABEL_CHARACTERS = 50
LOCKED = "https://docs.github.com/articles/locking-conversations/"


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request, which is the input of an endpoint."""

    state: State
    apps: Apps
    name: str  # method and route, such as "GET /repos/{owner}/{repo}"
    path: Mapping[str, str]  # path parameters
    query: Mapping[str, str]
    body: Any  # parsed JSON of a POST or PATCH; None for other methods
    me: Account  # the account of the request's token; that of nobody for a request of an App itself
    token: InstallationToken | None = (
        None  # of an App's installation, which has access to the repository
    )
    app: App | None = None  # the App that signed the request

    @property
    def is_installation(self) -> bool:
        return self.token is not None

    @property
    def signed_by(self) -> App:
        if self.app is None:
            raise GitHubError(401, "A JSON web token could not be decoded")
        return self.app

    def permission(self, full_name: str) -> Permission | None:
        """Return the permission of the request's account on the repository."""
        return "write" if self.is_installation else self.state.permission(full_name, self.me.login)


@dataclass(frozen=True, slots=True)
class Answer:
    """The output of an endpoint, which becomes an HTTP response."""

    document: Any
    status: int = 200
    listed: bool = False  # the document is a list and is paginated
    inside: str | None = (
        None  # "jobs": the response is {"total_count": ..., "jobs": [...]}; None: the list itself
    )
    log: tuple[str, int] | None = (
        None  # redirect to the log of this job of a repository instead of a document
    )
    headers: Mapping[str, str] = field(default_factory=dict)
    # events and payloads to send after the response
    webhooks: tuple[tuple[str, Document], ...] = ()


Endpoint = Callable[[Call], Answer]
Query = Callable[[State, str, Mapping[str, Any]], Document]
"""Returns the repository's part of a GraphQL response: of "owner/repo", with variables."""
T = TypeVar("T")


def existing(value: T | None) -> T:
    if value is None:
        raise GitHubError(404, "Not Found")
    return value


def repository_of(call: Call) -> Repository:
    """Return the repository in the path. Raises `GitHubError` (404) if it cannot be read."""
    full_name = f"{call.path['owner']}/{call.path['repo']}"
    return existing(
        None if call.permission(full_name) == "none" else call.state.repository(full_name)
    )


def conversation_of(call: Call, home: Repository) -> Conversation:
    return existing(call.state.conversation(home.full_name, int(call.path["number"])))


def pull_of(call: Call, home: Repository) -> Conversation:
    conversation = conversation_of(call, home)
    if conversation.kind != "pull":
        raise GitHubError(404, "Not Found")
    return conversation


def require_unlocked(conversation: Conversation) -> None:
    if conversation.locked:
        raise GitHubError(
            403, "Unable to create comment because issue is locked.", documentation_url=LOCKED
        )


def failed(resource: str, code: str, name: str, message: str | None = None) -> GitHubError:
    """Return a 422 error about the field `name` of a `resource` such as "Label"."""
    error = {"resource": resource, "code": code, "field": name} | (
        {"message": message} if message else {}
    )
    return GitHubError(422, "Validation Failed", (error,))


def parse_body(raw: bytes, content_type: str) -> Any:
    """Return the parsed JSON body. Raises `GitHubError` if the body or its content type is not
    JSON.
    """
    if content_type.partition(";")[0].strip().lower() not in {
        "application/json",
        "application/vnd.github+json",
    }:
        raise GitHubError(415, "Unsupported Media Type: Content-Type must be application/json")
    try:
        body = json.loads(raw)
        json.dumps(body, ensure_ascii=False).encode()  # rejects lone surrogates
    except (ValueError, RecursionError):
        raise GitHubError(400, "Problems parsing JSON") from None
    return body


def comment_body(body: Any) -> str:
    """Return the text of a comment to write. Raises `GitHubError` if the text is empty or too
    long.
    """
    text = str(valid_fields(body, "body")["body"])
    if not text.strip():
        raise failed("IssueComment", "missing_field", "body")
    check_length("IssueComment", "body", text, MAX_COMMENT_CHARACTERS)
    return text


def label_name(name: Any) -> str:
    """Return the name of a label to create or add. Raises `GitHubError` if it is empty or too
    long.
    """
    if not isinstance(name, str) or not name.strip():
        raise failed("Label", "missing_field", "name")
    check_length("Label", "name", name, MAX_LABEL_CHARACTERS)
    return name


def check_length(resource: str, name: str, text: str, most: int) -> None:
    if len(text) > most:
        raise failed(resource, "custom", name, f"{name} is too long (maximum is {most} characters)")


def valid_fields(body: Any, *required: str) -> dict[str, Any]:
    """Return the body. Raises `GitHubError` if it is no object or lacks a field; `tests/contracts`
    checks the rest.
    """
    if not isinstance(body, dict):
        raise GitHubError(400, "Body should be a JSON object")
    for name in required:
        if name not in body:
            raise GitHubError(422, f'Invalid request.\n\n"{name}" wasn\'t supplied.')
    return body


def paginate(
    items: list[Any], query: Mapping[str, str], url: str
) -> tuple[list[Any], dict[str, str]]:
    """Return the page that the query asks for, and the header `Link` with the URLs of other pages,
    if there are any.
    """
    page = _number(query.get("page"), 1)
    size = page_size(query)
    last = max((len(items) + size - 1) // size, 1)
    pages = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    names = [name for name in pages if (page > 1 if name in {"prev", "first"} else page < last)]
    links = [f'<{url}?{urlencode({**query, "page": pages[name]})}>; rel="{name}"' for name in names]
    return items[(page - 1) * size : page * size], {"link": ", ".join(links)} if links else {}


def page_size(query: Mapping[str, str]) -> int:
    """Return `per_page` of the query, by default 30 and at most 100."""
    return min(_number(query.get("per_page"), 30), 100)


def _number(text: str | None, default: int) -> int:
    return (
        int(text)
        if text and text.isascii() and text.isdigit() and 0 < int(text) < 10**9
        else default
    )
