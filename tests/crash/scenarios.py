"""The event that each handler gets in the crash tests, and the repository in which it happens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hls_handler.prompting import recorded
from hls_handler.settings import shipped

EVENTS = (
    "issues",
    "pull_request",
    "pull_request_review",
    "workflow_run",
    "release",
    "issue_comment",
    "push",
)
PROMPTS = (Path(__file__).parent / "prompts", shipped.PROMPTS)
OWNER = "Codertocat"
_NAME, _ID = b"Hello-World", b"186853002"


@dataclass(frozen=True, slots=True)
class Scenario:
    handler: str  # "IssueHandler"; for a command, its text
    event: str  # the recorded payload that is delivered: "demo/bug"
    before: tuple[str, ...] = ()  # recorded payloads that GitHub has already, without a webhook
    comment: str | None = None  # text that the comment of the payload gets
    handlers: tuple[str | None, ...] = ()  # of the deliveries, if not only `handler`
    files: Mapping[str, str] = field(default_factory=dict)  # of the default branch

    def body(self, repository: FreshRepository) -> bytes:
        """Return the delivered payload with the name and id of the repository."""
        body = repository.body(self.event)
        if self.comment is None:
            return body
        payload = json.loads(body)
        payload["comment"]["body"] = self.comment
        return json.dumps(payload).encode()


DOCUMENTS = {
    "README.md": "A shop.\n",
    "docs/importer.md": (
        "# Nightly importer\n\nThe nightly importer can read from a read replica of the database.\n"
    ),
}

SCENARIOS = (
    Scenario(
        "IssueHandler", "demo/question", files=DOCUMENTS
    ),  # a prompt that is followed by a second one
    Scenario("PullRequestHandler", "demo/feature"),
    Scenario("ReviewHandler", "demo/review", before=("demo/feature-push",)),
    Scenario("WorkflowHandler", "demo/tests-failed", before=("demo/feature-push",)),
    Scenario("CommentHandler", "demo/mention", before=("demo/feature-push",)),
    Scenario("ReleaseHandler", "demo/release", before=("demo/question",)),
    Scenario("GenericHandler", "demo/push", before=("demo/question",)),
    Scenario(
        *("/review", "demo/mention"),
        before=("demo/feature-push",),
        comment="/review",
        handlers=(None, "PullRequestHandler"),
    ),
)


@dataclass(frozen=True, slots=True)
class FreshRepository:
    """A repository without history: each run uses a new one."""

    number: int

    @property
    def name(self) -> str:
        # constant length, because the cost of Claude depends on it
        return f"Hello-World-{self.number:05d}"

    @property
    def full_name(self) -> str:
        return f"{OWNER}/{self.name}"

    @property
    def id(self) -> int:
        return 900_000_000 + self.number

    def body(self, payload: str) -> bytes:
        """Return a recorded payload with the name and id of this repository."""
        body = recorded.load(payload).body
        return body.replace(_NAME, self.name.encode()).replace(_ID, str(self.id).encode())

    def normalize(self, text: str) -> str:
        """Replace the name and id of this repository by those of the recorded payloads."""
        return text.replace(self.name, "Hello-World").replace(str(self.id), _ID.decode())
