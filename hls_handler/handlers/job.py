"""The port through which a handler reads, asks and posts for one delivery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from hls_handler.actions import Action, EnsureCheck, Outcome
from hls_handler.analysis import Analysis, Reply
from hls_handler.events import Event
from hls_handler.handlers.asking import Answers
from hls_handler.review.record import ReviewRecord
from hls_handler.routing import Rule


@dataclass(frozen=True, slots=True)
class Conversation:
    """The issue or pull request that receives the labels and the comment."""

    number: int
    is_pull_request: bool
    may_be_closed: bool = False  # True: it is also processed if it is closed
    is_fallback_issue: bool = (
        False  # the fallback issue from settings: it receives a comment, but no labels
    )


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a delivery in which no step failed."""

    reason: str  # a sentence for `hls why`
    posting: Literal["done", "dry_run"] | None = None  # None if there was nothing to post


class Job(Protocol):
    """One delivery in work. After a crash, `Handler.run` is called again.

    `gather`, `ask` and `post` store what they did, and return a stored result without doing it
    again. All methods may raise `Postponed`, `LeaseLost`, `Superseded` or a `StepFailed`, which end
    the run; the engine decides what follows.
    """

    @property
    def event(self) -> Event: ...

    @property
    def rule(self) -> Rule: ...

    def gather(self) -> Any:
        """Return the facts that `Handler.gather` reads from GitHub.

        Raises `Superseded` if a newer event, or a later stored result, makes them outdated.
        """
        ...

    def choose(self, conversation: Conversation | None) -> None:
        """Post on this conversation; None: on none. Raises `ConversationIgnored` if it was
        processed too often.
        """
        ...

    def lock(self, name: str) -> None:
        """Acquire a lock of the chosen conversation until the delivery ends, or for two minutes.

        Raises `Postponed` while another delivery holds it.
        """
        ...

    def comment_state(self, family: str) -> str | None:
        """Return the `EnsureComment.state` that was last posted on the chosen conversation."""
        ...

    def note(self, *, omitted: str | None, sent: str | None = None) -> None:
        """Store sentences for `hls why`: what Claude is not shown, and what it gets besides the
        event.
        """
        ...

    def begin_check(self, commit: str) -> None:
        """Show the check on a commit in progress, unless it was ended."""
        ...

    def ask(self, facts: Any) -> Answers:
        """Return Claude's replies about the facts (`Handler.consult`). Raises `BudgetExceeded` if
        there is none.
        """
        ...

    def render(self, answered: Answers) -> Analysis:
        """Return the replies with the comments that show them."""
        ...

    def render_static(self, facts: Any, reply: Reply) -> Analysis:
        """Return an analysis without a reply of Claude, whose comment shows `reply`."""
        ...

    def post(
        self,
        facts: Any,
        analysis: Analysis,
        actions: tuple[Action, ...],
        *reasons: str,
        after_review: Callable[[Outcome | None], tuple[Action, ...]] | None = None,
    ) -> Result:
        """Execute the actions, then run the shadow prompt. The result has the reasons and what was
        done.

        `after_review` gets the outcome of the review, None without one, and returns the actions
        that are planned then.
        """
        ...

    def post_check(self, actions: tuple[EnsureCheck, ...], reason: str) -> Result:
        """Set the check of a delivery that needs no call to Claude."""
        ...

    def store_review(self, record: ReviewRecord) -> None: ...
