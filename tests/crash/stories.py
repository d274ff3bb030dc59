"""What is told to each handler in the crash tests, as it happens on a repository that nobody has worked on before."""

from __future__ import annotations

from dataclasses import dataclass

from hls_handler.prompting import recorded

OWNER = "Codertocat"
_NAME, _ID = b"Hello-World", b"186853002"


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """`before` has happened on GitHub already and is not told of; `event` is delivered."""

    handler: str  # "IssueHandler"
    event: str  # a recorded payload, "demo/bug"
    before: tuple[str, ...] = ()


STORIES = (
    DeliveryReport("IssueHandler", "demo/question"),  # a prompt that leads to a second one
    DeliveryReport("PullRequestHandler", "demo/feature"),
    DeliveryReport("ReviewHandler", "demo/review", before=("demo/feature-push",)),
    DeliveryReport("WorkflowHandler", "demo/tests-failed", before=("demo/feature-push",)),
    DeliveryReport("CommentHandler", "demo/mention", before=("demo/feature-push",)),
    DeliveryReport("ReleaseHandler", "demo/release", before=("demo/question",)),
    DeliveryReport("GenericHandler", "demo/push", before=("demo/question",)),
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A repository of its own: each run begins on one that nothing is remembered of."""

    number: int

    @property
    def name(self) -> str:
        return f"Hello-World-{self.number:05d}"  # as long as any other: Claude is paid by length

    @property
    def repository(self) -> str:
        return f"{OWNER}/{self.name}"

    @property
    def repository_id(self) -> int:
        return 900_000_000 + self.number

    def body(self, payload: str) -> bytes:
        """A recorded payload as it would be had it happened here."""
        body = recorded.load(payload).body
        return body.replace(_NAME, self.name.encode()).replace(_ID, str(self.repository_id).encode())

    def as_if_elsewhere(self, text: str) -> str:
        """A text with what is only said of this stage made alike for all."""
        return text.replace(self.name, "Hello-World").replace(str(self.repository_id), _ID.decode())
