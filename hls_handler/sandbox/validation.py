"""What GitHub forbids in a request, as its 4xx answers. Pure: a body in, checked values or a `Refusal` out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LONGEST_COMMENT = 65_536  # characters
MAX_LABEL_CHARACTERS = 50
LONGEST_DESCRIPTION = 100
MAX_LABELS = 100  # on one thread
DOCUMENTATION = "https://docs.github.com/rest"


@dataclass(eq=False)
class Refusal(Exception):
    """An answer of 300 and more. (Not frozen: Python writes to an exception that it raises.)"""

    status: int
    message: str
    errors: tuple[Mapping[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    documentation_url: str = DOCUMENTATION
    url: str | None = None  # where a thing has moved

    def document(self) -> dict[str, Any]:
        body: dict[str, Any] = {"message": self.message}
        if self.errors:
            body["errors"] = list(self.errors)
        if self.url is not None:
            body["url"] = self.url
        return {**body, "documentation_url": self.documentation_url, "status": str(self.status)}


def failed(resource: str, code: str, name: str, message: str | None = None) -> Refusal:
    """A 422 that names the field."""
    error = {"resource": resource, "code": code, "field": name} | ({"message": message} if message else {})
    return Refusal(422, "Validation Failed", (error,))


def parse_body(raw: bytes, content_type: str) -> Any:
    """The JSON of a request that must have one."""
    if content_type.partition(";")[0].strip().lower() not in {"application/json", "application/vnd.github+json"}:
        raise Refusal(415, "Unsupported Media Type: send application/json")
    try:
        body = json.loads(raw)
        json.dumps(body, ensure_ascii=False).encode()  # half a character is no text
    except (ValueError, RecursionError):
        raise Refusal(400, "Problems parsing JSON") from None
    return body


def comment_body(body: Any) -> str:
    """The text of a comment."""
    text = _only(body, {"body": str}, required=("body",))["body"]
    if not text.strip():
        raise failed("IssueComment", "missing_field", "body")
    if len(text) > LONGEST_COMMENT:
        limit = f"body is too long (maximum is {LONGEST_COMMENT} characters)"
        raise failed("IssueComment", "unprocessable", "data", limit)
    return str(text)


def label_names(body: Any) -> tuple[str, ...]:
    """The names of labels to put on a thread: `{"labels": [...]}`, or the bare list."""
    given = body if isinstance(body, list) else _only(body, {"labels": list}, required=("labels",))["labels"]
    if not given:
        raise Refusal(422, 'Invalid request.\n\nNo subschema in "oneOf" matched: the list of labels is empty.')
    names: list[str] = []
    for entry in given:
        name = entry.get("name") if isinstance(entry, Mapping) else entry
        if not isinstance(name, str):
            raise Refusal(422, f"Invalid request.\n\nFor 'items', {json.dumps(name)} is not a string.")
        _check_name(name)
        names.append(name)
    return tuple(names)


def too_many_labels(names: Sequence[str]) -> None:
    """Refuse more labels than a thread may carry."""
    if len({name.lower() for name in names}) > MAX_LABELS:
        raise failed("Label", "custom", "labels", f"issues may only have {MAX_LABELS} labels")


def new_label(body: Any) -> tuple[str, str, str | None]:
    """Name, colour and description of a label to create."""
    wish = _only(body, {"name": str, "color": str, "description": (str, type(None))}, required=("name",))
    name, color, description = wish["name"], wish.get("color", "ededed"), wish.get("description")
    _check_name(name)
    if not re.fullmatch(r"[0-9a-fA-F]{6}", color):
        raise failed("Label", "invalid", "color")
    if description is not None and len(description) > LONGEST_DESCRIPTION:
        limit = f"description is too long (maximum is {LONGEST_DESCRIPTION} characters)"
        raise failed("Label", "custom", "description", limit)
    return name, color, description


def page_of(query: Mapping[str, str]) -> tuple[int, int]:
    """`page` and `per_page`, as GitHub takes them: at most 100, 30 where nothing usable is said."""
    return _number(query.get("page"), 1), min(_number(query.get("per_page"), 30), 100)


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and 0 < int(text) < 10**9 else otherwise


def _check_name(name: str) -> None:
    if not name.strip():
        raise failed("Label", "missing_field", "name")
    if len(name) > MAX_LABEL_CHARACTERS:
        raise failed("Label", "custom", "name", f"name is too long (maximum is {MAX_LABEL_CHARACTERS} characters)")


def _only(body: Any, kinds: Mapping[str, type | tuple[type, ...]], *, required: tuple[str, ...]) -> dict[str, Any]:
    """An object with these keys only. GitHub passes over unknown keys; here they are refused, to find our slips."""
    if not isinstance(body, dict):
        raise Refusal(400, "Body should be a JSON object")
    for name in required:
        if name not in body:
            raise Refusal(422, f'Invalid request.\n\n"{name}" wasn\'t supplied.')
    for name, value in body.items():
        if name not in kinds:
            raise Refusal(422, f'Invalid request.\n\n"{name}" is not a permitted key.')
        if not isinstance(value, kinds[name]):
            raise Refusal(
                422, f"Invalid request.\n\nFor 'properties/{name}', {json.dumps(value)[:80]} is of a wrong type."
            )
    return body
