"""The shape of a handler: gather facts before Claude is asked, plan actions after; nothing else is a family's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeVar

from hls_handler.actions import Action
from hls_handler.analysis import Analysis, Reply
from hls_handler.errors import Overtaken, Permanent
from hls_handler.events import Event, Issue, PullRequest
from hls_handler.handlers.reader import Reader
from hls_handler.handlers.record import Happened, Record
from hls_handler.routing import Rule, asked_to_skip
from hls_handler.settings.globs import NOTHING_LEFT_OUT, PathFilter
from hls_handler.settings.model import Findings

Facts = TypeVar("Facts")


EVERY_FINDING = Findings()


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be shown to Claude, and what may not; and of what Claude finds, what is shown to people."""

    input_tokens: int  # estimated
    left_out: PathFilter = NOTHING_LEFT_OUT  # files of pull requests
    shown: Findings = EVERY_FINDING


@dataclass(frozen=True, slots=True)
class Unasked:
    """There is nothing that Claude could be asked about."""

    reason: str  # a sentence
    reply: Reply | None = None  # in place of Claude's, where labels and a comment of ours may have to change; ours


@dataclass(frozen=True, slots=True)
class Thread:
    """The issue or pull request on which something is to be seen."""

    number: int
    is_pull_request: bool
    is_appointed: bool = False  # by settings: the event is not about it, so nothing but a comment belongs there


class Handler(Protocol[Facts]):
    """One event family. Facts are frozen dataclasses of plain values: they are remembered as JSON, see `facts_version`.

    Except for `gather`, which reads GitHub, everything is pure. What has a body here is what most families do.
    """

    name: str  # "IssueHandler"; what /stats counts under
    family: str  # "issues"; the folder of its prompts and the family of its comment
    replies: frozenset[str]  # reply types that `plan` can make something of, keys of `analysis.REPLY_TYPES`
    facts_type: type[Facts]
    facts_version: int  # grows whenever the shape of `facts_type` changes: older facts are then gathered again
    variable_types: Mapping[str, object]  # type hints of what `variables` gives: templates are checked against them
    comment_variable_types: Mapping[str, object] = MappingProxyType({})  # and of what `comment_variables` gives
    has_sections: bool = False  # whether several sources feed its comment, each with a section of its own
    outdated_by_a_push: bool = False  # whether what was found out is worth nothing once newer commits were pushed
    outdated_by_an_answer: bool = False  # whether a newer one of the same prompt on its thread says all that it could
    nowhere: str | None = None  # why Claude is not asked where there is no thread to say it on; None: asked, and kept

    def gather(self, event: Event, reader: Reader, record: Record, budget: Budget) -> Facts:
        """Read what is worth knowing, as it is now. Raises `Overtaken` (closed), `Permanent` (locked), as reads do."""
        ...

    def happened(self, event: Event, facts: Facts) -> Happened:
        """What our own record is to keep of the facts, whatever is said about them."""
        return Happened()

    def outdated(self, event: Event, facts: Facts, record: Record) -> str | None:
        """Why what was found out is over by now, as far as our own record knows; None as a rule."""
        return None

    def thread(self, event: Event, facts: Facts, rule: Rule) -> Thread | None:
        """Where it is said; None where nothing is posted, and the analysis is kept alone."""
        return thread_of(event)

    def variables(self, event: Event, facts: Facts) -> Mapping[str, object]:
        """What the family's templates see beside the names that every family has."""
        ...

    def unasked(self, facts: Facts) -> Unasked | None:
        """Whether there is nothing to ask; None as a rule."""
        return None

    def not_shown(self, facts: Facts) -> str | None:
        """What of the event Claude is not shown, as a sentence for `hls why`; None where all of it is."""
        return None

    def comment_variables(self, event: Event, facts: Facts, reply: Reply) -> Mapping[str, object]:
        """What only the family's comment templates see, made from the last reply."""
        return {}

    def plan(self, event: Event, facts: Facts, analysis: Analysis, rule: Rule) -> tuple[Action, ...]:
        """What should be seen on GitHub."""
        ...


def thread_of(event: Event) -> Thread | None:
    """The thread that the event itself is about. The conversation of a pull request is told as an issue."""
    if event.pull_request is not None:
        return Thread(event.pull_request.number, is_pull_request=True)
    return Thread(event.issue.number, is_pull_request=event.issue.is_pull_request) if event.issue else None


def appointed(rule: Rule) -> Thread | None:
    """The issue that settings name for what is said of an event that has no thread of its own."""
    number = rule.effective.issue_for(rule.event_key)
    return None if number is None else Thread(number, is_pull_request=False, is_appointed=True)


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
