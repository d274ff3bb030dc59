"""The webhook envelope: the few fields of a body that routing needs, parsed in microseconds.

Fields that routing does not need are declared too, with the types that `parse_event` requires, so that the receiver
rejects a body that the worker could not parse.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from hls_handler.errors import PayloadError


class EnvelopeAccount(msgspec.Struct, frozen=True):
    login: str = ""
    type: str = "User"


class EnvelopeRepository(msgspec.Struct, frozen=True):
    id: int
    full_name: str = ""


class EnvelopeInstallation(msgspec.Struct, frozen=True):
    id: int


class EnvelopeLabel(msgspec.Struct, frozen=True):
    name: str = ""


class EnvelopeCommit(msgspec.Struct, frozen=True):
    sha: str = ""


class EnvelopeAuthor(EnvelopeAccount, frozen=True, kw_only=True):
    id: int


class EnvelopeConversation(msgspec.Struct, frozen=True):
    """An issue or a pull request. Routing needs only some of the fields; the others are validated for the worker."""

    number: int
    title: str | None = None
    draft: bool | None = None
    labels: tuple[EnvelopeLabel, ...] | None = None
    head: EnvelopeCommit | None = None
    user: EnvelopeAuthor | None = None
    body: str | None = None
    state: Literal["open", "closed"] = "open"
    locked: bool = False
    author_association: str = "NONE"
    html_url: str = ""
    pull_request: dict[str, msgspec.Raw] | None = None


class EnvelopeReview(msgspec.Struct, frozen=True):
    user: EnvelopeAccount | None = None
    body: str | None = None


class EnvelopeComment(msgspec.Struct, frozen=True):
    id: int
    user: EnvelopeAuthor | None = None
    body: str | None = None
    author_association: str = "NONE"
    html_url: str | None = None
    created_at: datetime | None = None


class EnvelopeWorkflowRun(msgspec.Struct, frozen=True):
    id: int
    workflow_id: int
    head_sha: str
    conclusion: str | None = None
    name: str | None = None
    path: str | None = None
    run_number: int = 0
    run_attempt: int | None = None
    event: str | None = None
    status: str | None = None
    head_branch: str | None = None
    actor: EnvelopeAuthor | None = None
    triggering_actor: EnvelopeAuthor | None = None
    html_url: str | None = None


class EnvelopeRelease(msgspec.Struct, frozen=True):
    id: int
    tag_name: str
    name: str | None = None
    body: str | None = None
    draft: bool = False
    prerelease: bool = False
    author: EnvelopeAuthor | None = None
    html_url: str | None = None
    published_at: datetime | None = None
    target_commitish: str | None = None


class WebhookEnvelope(msgspec.Struct, frozen=True):
    """The few fields of a body that routing needs. All are optional: GitHub omits each of them in some event."""

    action: str | None = None
    repository: EnvelopeRepository | None = None
    sender: EnvelopeAccount | None = None
    installation: EnvelopeInstallation | None = None
    issue: EnvelopeConversation | None = None
    pull_request: EnvelopeConversation | None = None
    review: EnvelopeReview | None = None
    comment: EnvelopeComment | None = None
    workflow_run: EnvelopeWorkflowRun | None = None
    release: EnvelopeRelease | None = None
    requested_reviewer: EnvelopeAccount | None = None
    label: EnvelopeLabel | None = None
    changes: dict[str, msgspec.Raw] | None = None

    @property
    def thread(self) -> EnvelopeConversation | None:
        return self.pull_request or self.issue


_DECODER = msgspec.json.Decoder(WebhookEnvelope)


def parse_envelope(body: bytes) -> WebhookEnvelope:
    """Parse the fields that routing needs. Raises `PayloadError` if the body is not a JSON object of GitHub's shape."""
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError as exc:
        raise PayloadError(f"the payload does not have GitHub's shape: {exc}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise PayloadError("the body is not valid JSON") from exc
