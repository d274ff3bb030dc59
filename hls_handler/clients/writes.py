"""Every write to GitHub that exists: five, and each takes its turn first (SECURITY.md rule 12)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from hls_handler.clients.api import Api, Reply, repository_path
from hls_handler.clients.refusals import unexpected
from hls_handler.errors import Retryable
from hls_handler.events import Text, WireAccount
from hls_handler.handlers.labelling import LabelSpec


class WireComment(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int
    body: Text = ""
    user: WireAccount | None = None
    html_url: str = ""


COMMENT = TypeAdapter(WireComment)


class Writes:
    """Writes to one repository. `before_write` is called before each; what it raises stops the write.

    `still_ours` is asked once more right before bytes leave: in between, this process may have slept.
    """

    def __init__(
        self, api: Api, repository: str, *, before_write: Callable[[], None], still_ours: Callable[[], None]
    ) -> None:
        self._api, self._still_ours = api, still_ours
        self._base = repository_path(repository)
        self._before_write = before_write

    def create_label(self, spec: LabelSpec) -> None:
        """Make the repository have the label. One that is there already is left as it is."""
        self._before_write()
        body = {"name": spec.name, "color": spec.color, "description": spec.description}
        reply = self._api.write("POST", f"{self._base}/labels", body, still_ours=self._still_ours, expected=(422,))
        if reply.status == 422 and not _already_exists(reply):
            raise Retryable(f"POST {self._base}/labels: 422: GitHub does not take the label {spec.name}")

    def add_labels(self, number: int, names: tuple[str, ...]) -> None:
        self._before_write()
        path = f"{self._base}/issues/{number}/labels"
        self._api.write("POST", path, {"labels": list(names)}, still_ours=self._still_ours)

    def remove_label(self, number: int, name: str) -> None:
        """Take a label off a thread. One that is off already is fine."""
        self._before_write()
        path = f"{self._base}/issues/{number}/labels/{quote(name, safe='')}"
        self._api.write("DELETE", path, None, still_ours=self._still_ours, expected=(404,))

    def create_comment(self, number: int, body: str) -> WireComment:
        self._before_write()
        path = f"{self._base}/issues/{number}/comments"
        return _comment(self._api.write("POST", path, {"body": body}, still_ours=self._still_ours))

    def edit_comment(self, comment_id: int, body: str) -> WireComment | None:
        """The comment as edited; None if somebody has just deleted it."""
        self._before_write()
        path = f"{self._base}/issues/comments/{comment_id}"
        reply = self._api.write("PATCH", path, {"body": body}, still_ours=self._still_ours, expected=(404, 410))
        return None if reply.status in (404, 410) else _comment(reply)


def _already_exists(reply: Reply) -> bool:
    errors = reply.data.get("errors")
    return isinstance(errors, list) and any(isinstance(e, dict) and e.get("code") == "already_exists" for e in errors)


def _comment(reply: Reply) -> WireComment:
    try:
        return COMMENT.validate_python(reply.data)
    except ValidationError:
        raise unexpected("writing a comment", "an answer without the comment") from None
