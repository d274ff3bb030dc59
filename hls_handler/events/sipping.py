"""The few fields of a body that the door needs, read in microseconds; what the worker could not read is refused."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from hls_handler.errors import PayloadError


class SippedAccount(msgspec.Struct, frozen=True):
    login: str = ""
    type: str = "User"


class SippedRepository(msgspec.Struct, frozen=True):
    id: int
    full_name: str = ""


class SippedInstallation(msgspec.Struct, frozen=True):
    id: int


class SippedLabel(msgspec.Struct, frozen=True):
    name: str = ""


class SippedHead(msgspec.Struct, frozen=True):
    sha: str = ""


class SippedAuthor(SippedAccount, frozen=True, kw_only=True):
    id: int


class SippedThread(msgspec.Struct, frozen=True):
    """An issue or a pull request. The door needs few of these; the others must fit the worker, too."""

    number: int
    title: str | None = None
    draft: bool | None = None
    labels: tuple[SippedLabel, ...] | None = None
    head: SippedHead | None = None
    user: SippedAuthor | None = None
    body: str | None = None
    state: Literal["open", "closed"] = "open"
    locked: bool = False
    author_association: str = "NONE"
    html_url: str = ""
    pull_request: dict[str, msgspec.Raw] | None = None


class SippedReview(msgspec.Struct, frozen=True):
    user: SippedAccount | None = None
    body: str | None = None


class SippedComment(msgspec.Struct, frozen=True):
    id: int
    user: SippedAuthor | None = None
    body: str | None = None
    author_association: str = "NONE"
    html_url: str | None = None
    created_at: datetime | None = None


class SippedRun(msgspec.Struct, frozen=True):
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
    actor: SippedAuthor | None = None
    triggering_actor: SippedAuthor | None = None
    html_url: str | None = None


class SippedRelease(msgspec.Struct, frozen=True):
    id: int
    tag_name: str
    name: str | None = None
    body: str | None = None
    draft: bool = False
    prerelease: bool = False
    author: SippedAuthor | None = None
    html_url: str | None = None
    published_at: datetime | None = None
    target_commitish: str | None = None


class Sip(msgspec.Struct, frozen=True):
    """The few fields of a body that the door needs. All are optional: GitHub leaves each away somewhere."""

    action: str | None = None
    repository: SippedRepository | None = None
    sender: SippedAccount | None = None
    installation: SippedInstallation | None = None
    issue: SippedThread | None = None
    pull_request: SippedThread | None = None
    review: SippedReview | None = None
    comment: SippedComment | None = None
    workflow_run: SippedRun | None = None
    release: SippedRelease | None = None
    requested_reviewer: SippedAccount | None = None
    label: SippedLabel | None = None
    changes: dict[str, msgspec.Raw] | None = None

    @property
    def thread(self) -> SippedThread | None:
        return self.pull_request or self.issue


_SIPPER = msgspec.json.Decoder(Sip)


def sip(body: bytes) -> Sip:
    """Read the fields that the door needs. Raises `PayloadError` for what is not JSON, not an object, or misshapen."""
    try:
        return _SIPPER.decode(body)
    except msgspec.ValidationError as exc:
        raise PayloadError(f"the payload does not have GitHub's shape: {exc}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise PayloadError("the body is not valid JSON") from exc
