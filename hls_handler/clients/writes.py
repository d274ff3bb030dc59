"""The only five writes to GitHub. Each waits for the rate limiter first (SECURITY.md rule 12)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from pydantic import TypeAdapter

from hls_handler.clients.api import GithubApi, Response, repository_path, validate
from hls_handler.errors import Retryable
from hls_handler.events import Comment
from hls_handler.handlers.labels import LabelSpec

COMMENT = TypeAdapter(Comment)


class Writes:
    """Writes to one repository. Each write calls `wait_for_slot`, then `check_lease`; an exception stops the write.

    `check_lease` is called right before bytes are sent, because the lease may expire during the wait and while the
    connection is opened.
    """

    def __init__(
        self, api: GithubApi, repository: str, *, wait_for_slot: Callable[[], None], check_lease: Callable[[], None]
    ) -> None:
        self._api, self._check_lease = api, check_lease
        self._base = repository_path(repository)
        self._wait_for_slot = wait_for_slot

    def create_label(self, spec: LabelSpec) -> None:
        """Create the label in the repository. An existing one is not changed."""
        self._wait_for_slot()
        body = {"name": spec.name, "color": spec.color, "description": spec.description}
        response = self._api.write("POST", f"{self._base}/labels", body, check_lease=self._check_lease, expected=(422,))
        if response.status == 422 and not _already_exists(response):
            raise Retryable(f"POST {self._base}/labels: 422: GitHub rejected the label {spec.name}")

    def add_labels(self, number: int, names: tuple[str, ...]) -> None:
        self._wait_for_slot()
        path = f"{self._base}/issues/{number}/labels"
        self._api.write("POST", path, {"labels": list(names)}, check_lease=self._check_lease)

    def remove_label(self, number: int, name: str) -> None:
        """Remove a label from a conversation. A label that is not set is no error."""
        self._wait_for_slot()
        path = f"{self._base}/issues/{number}/labels/{quote(name, safe='')}"
        self._api.write("DELETE", path, None, check_lease=self._check_lease, expected=(404,))

    def create_comment(self, number: int, body: str) -> Comment:
        self._wait_for_slot()
        path = f"{self._base}/issues/{number}/comments"
        response = self._api.write("POST", path, {"body": body}, check_lease=self._check_lease)
        return validate(f"POST {path}", COMMENT, response.data)

    def edit_comment(self, comment_id: int, body: str) -> Comment | None:
        """Return the edited comment; None if it was deleted meanwhile."""
        self._wait_for_slot()
        path = f"{self._base}/issues/comments/{comment_id}"
        response = self._api.write("PATCH", path, {"body": body}, check_lease=self._check_lease, expected=(404, 410))
        return None if response.status in (404, 410) else validate(f"PATCH {path}", COMMENT, response.data)


def _already_exists(response: Response) -> bool:
    errors = response.data.get("errors")
    return isinstance(errors, list) and any(isinstance(e, dict) and e.get("code") == "already_exists" for e in errors)
