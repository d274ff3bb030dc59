"""Input and output of the endpoints of the stand-in GitHub, and its 4xx responses to invalid requests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from hls_handler.sandbox import shapes
from hls_handler.sandbox.objects import Account, Conversation, Document, Permission, Repository
from hls_handler.sandbox.state import State

MAX_COMMENT_CHARACTERS = 65_536
MAX_LABEL_CHARACTERS = 50
MAX_DESCRIPTION_CHARACTERS = 100
MAX_LABELS = 100  # on one issue or pull request
MAX_CHECK_TEXT_CHARACTERS = 65_535
MAX_ANNOTATIONS = 50
MAX_ANNOTATION_TITLE_CHARACTERS = 255
MAX_STATUS_CHARACTERS = 140
CONCLUSIONS = ("action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out")
DOCUMENTATION = "https://docs.github.com/rest"
LOCKED = "https://docs.github.com/articles/locking-conversations/"


@dataclass(eq=False)
class GitHubError(Exception):
    """A redirect or an error response. Not frozen, because Python sets attributes of a raised exception."""

    status: int
    message: str
    errors: tuple[Mapping[str, str] | str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    documentation_url: str = DOCUMENTATION
    url: str | None = None  # target of a redirect

    def document(self) -> dict[str, Any]:
        body: dict[str, Any] = {"message": self.message}
        if self.errors:
            body["errors"] = list(self.errors)
        if self.url is not None:
            body["url"] = self.url
        return {**body, "documentation_url": self.documentation_url, "status": str(self.status)}


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request, which is the input of an endpoint."""

    state: State
    method: str
    path: Mapping[str, str]  # path parameters
    query: Mapping[str, str]
    body: Any  # parsed JSON of a POST or PATCH; None for other methods
    needs: str  # permissions that the route needs, for X-Accepted-GitHub-Permissions
    me: Account  # the account of the request's token
    is_installation: bool = False  # the token is that of an App's installation, which has access to the repository

    def permission(self, full_name: str) -> Permission | None:
        """Return the permission of the request's account on the repository."""
        return "write" if self.is_installation else self.state.permission(full_name, self.me.login)


@dataclass(frozen=True, slots=True)
class Answer:
    """The output of an endpoint, which becomes an HTTP response."""

    document: Any
    status: int = 200
    listed: bool = False  # the document is a list and is paginated
    inside: str | None = None  # "jobs": the response is {"total_count": ..., "jobs": [...]}; None: the list itself
    file: str | None = None  # redirect to this file instead of a document: "logs/owner/repo/7"
    headers: Mapping[str, str] = field(default_factory=dict)
    webhooks: tuple[tuple[str, Document], ...] = ()  # events and payloads to send after the response


def repository_of(call: Call) -> Repository:
    """Return the repository in the path. Raises `GitHubError`: a redirect after a rename, 404 if it cannot be read."""
    full_name = f"{call.path['owner']}/{call.path['repo']}"
    found = call.state.repository(full_name)
    new_name = call.state.world.moved.get(full_name.lower())
    if new_name is not None:
        raise moved(call, f"{shapes.API}/repos/{new_name}")
    if found is None or call.permission(full_name) == "none":
        raise GitHubError(404, "Not Found")
    return found


def moved(call: Call, url: str) -> GitHubError:
    """Return a redirect to `url`: 301 for GET, 307 for other methods."""
    if call.method == "GET":
        return GitHubError(301, "Moved Permanently", headers={"Location": url}, url=url)
    return GitHubError(307, "Temporary Redirect", headers={"Location": url}, url=url)


def writable_repository(call: Call) -> Repository:
    home = repository_of(call)
    if home.archived:
        raise GitHubError(403, "Repository was archived so is read-only.")
    return home


def accepted_permissions(call: Call) -> Mapping[str, str]:
    return {"X-Accepted-GitHub-Permissions": call.needs}


def conversation_of(call: Call, home: Repository) -> Conversation:
    conversation = call.state.conversation(home.full_name, int(call.path["number"]))
    if conversation is None:
        raise GitHubError(404, "Not Found")
    if conversation.gone == "deleted":
        raise GitHubError(410, "This issue was deleted")
    if conversation.gone == "transferred":
        raise moved(call, conversation.moved_to or shapes.API)
    return conversation


def pull_of(call: Call, home: Repository) -> Conversation:
    conversation = conversation_of(call, home)
    if conversation.kind != "pull":
        raise GitHubError(404, "Not Found")
    return conversation


def failed(resource: str, code: str, name: str, message: str | None = None) -> GitHubError:
    """Return a 422 error about the field `name` of a `resource` such as "Label"."""
    error = {"resource": resource, "code": code, "field": name} | ({"message": message} if message else {})
    return GitHubError(422, "Validation Failed", (error,))


def parse_body(raw: bytes, content_type: str) -> Any:
    """Return the parsed JSON body. Raises `GitHubError` if the body or its content type is not JSON."""
    if content_type.partition(";")[0].strip().lower() not in {"application/json", "application/vnd.github+json"}:
        raise GitHubError(415, "Unsupported Media Type: Content-Type must be application/json")
    try:
        body = json.loads(raw)
        json.dumps(body, ensure_ascii=False).encode()  # rejects lone surrogates
    except (ValueError, RecursionError):
        raise GitHubError(400, "Problems parsing JSON") from None
    return body


def comment_body(body: Any) -> str:
    """Return the text of a comment to write. Raises `GitHubError` if the text is empty or too long."""
    text = valid_fields(body, {"body": str}, required=("body",))["body"]
    if not text.strip():
        raise failed("IssueComment", "missing_field", "body")
    if len(text) > MAX_COMMENT_CHARACTERS:
        limit = f"body is too long (maximum is {MAX_COMMENT_CHARACTERS} characters)"
        raise failed("IssueComment", "unprocessable", "data", limit)
    return str(text)


def reaction_content(body: Any) -> str:
    """Return the content of a reaction to create. Raises `GitHubError` if there is no such reaction."""
    content = valid_fields(body, {"content": str}, required=("content",))["content"]
    if content not in shapes.REACTIONS:
        raise failed("Reaction", "invalid", "content")
    return str(content)


def label_names(body: Any) -> tuple[str, ...]:
    """Return the label names in a body `["bug"]` or `{"labels": ["bug"]}`. Raises `GitHubError` for invalid bodies."""
    given = body if isinstance(body, list) else valid_fields(body, {"labels": list}, required=("labels",))["labels"]
    if not given:
        raise GitHubError(422, 'Invalid request.\n\nNo subschema in "oneOf" matched: the list of labels is empty.')
    names: list[str] = []
    for entry in given:
        name = entry.get("name") if isinstance(entry, Mapping) else entry
        if not isinstance(name, str):
            raise GitHubError(422, f"Invalid request.\n\nFor 'items', {json.dumps(name)} is not a string.")
        _check_name(name)
        names.append(name)
    return tuple(names)


def check_label_count(names: Sequence[str]) -> None:
    """Raise `GitHubError` if there are more than `MAX_LABELS` different names."""
    if len({name.lower() for name in names}) > MAX_LABELS:
        raise failed("Label", "custom", "labels", f"issues may only have {MAX_LABELS} labels")


def new_label(body: Any) -> tuple[str, str, str | None]:
    """Return (name, colour, description) of a label to create. Raises `GitHubError` if one of them is invalid."""
    given = valid_fields(body, {"name": str, "color": str, "description": (str, type(None))}, required=("name",))
    name, color, description = given["name"], given.get("color", "ededed"), given.get("description")
    _check_name(name)
    if not re.fullmatch(r"[0-9a-fA-F]{6}", color):
        raise failed("Label", "invalid", "color")
    if description is not None and len(description) > MAX_DESCRIPTION_CHARACTERS:
        limit = f"description is too long (maximum is {MAX_DESCRIPTION_CHARACTERS} characters)"
        raise failed("Label", "custom", "description", limit)
    return name, color, description


def check_run(body: Any, *, required: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a check run to create or change. Raises `GitHubError` if one of them is invalid."""
    kinds: Mapping[str, type | tuple[type, ...]] = {
        "name": str,
        "head_sha": str,
        "external_id": str,
        "status": str,
        "conclusion": str,
        "output": dict,
    }
    given = valid_fields(body, kinds, required=required)
    if given.get("status", "queued") not in {"queued", "in_progress", "completed"}:
        raise failed("CheckRun", "invalid", "status")
    if given.get("status") == "completed" and given.get("conclusion") not in CONCLUSIONS:
        raise failed("CheckRun", "missing_field", "conclusion")
    if "output" in given:
        texts = {"title": str, "summary": str, "annotations": list}
        output = valid_fields(given["output"], texts, required=("title", "summary"))
        if len(output["summary"]) > MAX_CHECK_TEXT_CHARACTERS:
            raise failed("CheckRun", "too_long", "summary")
        annotations = output.get("annotations", [])
        if len(annotations) > MAX_ANNOTATIONS:
            raise failed("CheckRun", "too_many", "annotations")
        for annotation in annotations:
            _check_annotation(annotation)
    return given


def _check_annotation(body: Any) -> None:
    texts = ("path", "annotation_level", "message", "title")
    kinds = {**dict.fromkeys(texts, str), "start_line": int, "end_line": int}
    given = valid_fields(body, kinds, required=("path", "start_line", "end_line", "annotation_level", "message"))
    if given["annotation_level"] not in {"notice", "warning", "failure"}:
        raise failed("CheckAnnotation", "invalid", "annotation_level")
    if not 1 <= given["start_line"] <= given["end_line"]:
        raise failed("CheckAnnotation", "invalid", "end_line")
    if len(given.get("title", "")) > MAX_ANNOTATION_TITLE_CHARACTERS:
        raise failed("CheckAnnotation", "too_long", "title")


def status(body: Any) -> dict[str, Any]:
    """Return the fields of a commit status to create. Raises `GitHubError` if one of them is invalid."""
    given = valid_fields(body, {"state": str, "description": str, "context": str}, required=("state",))
    if given["state"] not in {"error", "failure", "pending", "success"}:
        raise failed("Status", "invalid", "state")
    if len(given.get("description", "")) > MAX_STATUS_CHARACTERS:
        limit = f"description is too long (maximum is {MAX_STATUS_CHARACTERS} characters)"
        raise failed("Status", "custom", "description", limit)
    return {"description": None, "context": "default", **given}


def paginate(items: list[Any], query: Mapping[str, str], url: str) -> tuple[list[Any], dict[str, str]]:
    """Return the page that the query asks for, and the header `Link` with the URLs of other pages, if there are any."""
    page, size = _number(query.get("page"), 1), page_size(query)
    last = max((len(items) + size - 1) // size, 1)
    pages = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    names = [name for name in pages if (page > 1 if name in {"prev", "first"} else page < last)]
    links = [f'<{url}?{urlencode({**query, "page": pages[name]})}>; rel="{name}"' for name in names]
    return items[(page - 1) * size : page * size], {"link": ", ".join(links)} if links else {}


def page_size(query: Mapping[str, str]) -> int:
    """Return `per_page` of the query, by default 30 and at most 100."""
    return min(_number(query.get("per_page"), 30), 100)


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and 0 < int(text) < 10**9 else default


def _check_name(name: str) -> None:
    if not name.strip():
        raise failed("Label", "missing_field", "name")
    if len(name) > MAX_LABEL_CHARACTERS:
        raise failed("Label", "custom", "name", f"name is too long (maximum is {MAX_LABEL_CHARACTERS} characters)")


def valid_fields(
    body: Any, kinds: Mapping[str, type | tuple[type, ...]], *, required: tuple[str, ...]
) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise GitHubError(400, "Body should be a JSON object")
    for name in required:
        if name not in body:
            raise GitHubError(422, f'Invalid request.\n\n"{name}" wasn\'t supplied.')
    for name, value in body.items():
        if name not in kinds:  # stricter than GitHub, which ignores unknown keys
            raise GitHubError(422, f'Invalid request.\n\n"{name}" is not a permitted key.')
        if not isinstance(value, kinds[name]):
            raise GitHubError(
                422, f"Invalid request.\n\nFor 'properties/{name}', {json.dumps(value)[:80]} is of a wrong type."
            )
    return body
