"""The shape of a handler: gather facts before Claude is asked, plan actions after; nothing else is a family's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hls_handler.actions import Action
from hls_handler.analysis import Analysis, Reply
from hls_handler.errors import Overtaken, Permanent
from hls_handler.events import Event, Issue, PullRequest
from hls_handler.handlers.reader import Reader
from hls_handler.routing import Rule, asked_to_skip
from hls_handler.settings.globs import NOTHING_LEFT_OUT, PathFilter

Facts = TypeVar("Facts")


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be shown to Claude, and what may not."""

    input_tokens: int  # estimated
    left_out: PathFilter = NOTHING_LEFT_OUT  # files of pull requests


@dataclass(frozen=True, slots=True)
class Unasked:
    """There is nothing that Claude could be asked about."""

    reason: str  # a sentence
    reply: Reply | None = None  # in place of Claude's, where labels and a comment of ours may have to change; ours


class Handler(Protocol[Facts]):
    """One event family. Facts are frozen dataclasses of plain values: they are remembered as JSON, see `facts_version`.

    Except for `gather`, which reads GitHub, everything is pure.
    """

    name: str  # "IssueHandler"; what /stats counts under
    family: str  # "issues"; the folder of its prompts and the family of its comment
    replies: frozenset[str]  # reply types that `plan` can make something of, keys of `analysis.REPLY_TYPES`
    facts_type: type[Facts]
    facts_version: int  # grows whenever the shape of `facts_type` changes: older facts are then gathered again
    variable_types: Mapping[str, object]  # type hints of what `variables` gives: templates are checked against them
    comment_variable_types: Mapping[str, object]  # and of what `comment_variables` gives
    has_sections: bool  # whether several sources feed its comment, each with a section of its own
    outdated_by_a_push: bool  # whether what was found out is worth nothing once newer commits were pushed

    def gather(self, event: Event, reader: Reader, budget: Budget) -> Facts:
        """Read what is worth knowing, as it is now. Raises `Overtaken` (closed), `Permanent` (locked), as reads do."""
        ...

    def variables(self, event: Event, facts: Facts) -> Mapping[str, object]:
        """What the family's templates see beside the names that every family has."""
        ...

    def unasked(self, facts: Facts) -> Unasked | None:
        """Whether there is nothing to ask; None as a rule."""
        ...

    def not_shown(self, facts: Facts) -> str | None:
        """What of the event Claude is not shown, as a sentence for `hls why`; None where all of it is."""
        ...

    def comment_variables(self, event: Event, facts: Facts, reply: Reply) -> Mapping[str, object]:
        """What only the family's comment templates see, made from the last reply."""
        ...

    def plan(self, event: Event, facts: Facts, analysis: Analysis, rule: Rule) -> tuple[Action, ...]:
        """What should be seen on GitHub."""
        ...


def still_welcome(event: Event, thread: Issue | PullRequest) -> None:
    """Check a thread as it is now: raises `Overtaken` if closed or asked to leave it alone, `Permanent` if locked."""
    kind = "pull request" if isinstance(thread, PullRequest) else "issue"
    name = f"the {kind} {event.repository.full_name}#{thread.number}"
    if thread.state == "closed":
        raise Overtaken(f"{name} was closed meanwhile")
    if thread.locked:
        raise Permanent(f"{name} is locked: labels and comments by HLS are not wanted there; unlock it and try again")
    asked = asked_to_skip(thread.title, (label.name for label in thread.labels))
    if asked is not None:
        raise Overtaken(f"{name} was taken out meanwhile: {asked}")
