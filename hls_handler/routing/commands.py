"""Commands of people: in comments on pull requests, in review threads, and by running a check
again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, NamedTuple

from hls_handler.actions import TITLE_CHECK
from hls_handler.events import Account
from hls_handler.review.dismissals import read_reply
from hls_handler.routing.envelope import DELETED_COMMENT, RoutingInput
from hls_handler.routing.filters import (
    Ignored,
    find_own_action,
    is_addressed,
    mentioned_name,
    same_login,
)
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.settings.yaml_parser import Sources
from hls_handler.untrusted.command_line import CHERRY_PICK_WORD, COMMAND_LINE, read_command_line

CommandName = Literal[
    "stop",
    "resume",
    "review",
    "review full",
    "help",
    "dismiss",
    "undismiss",
    "cherry-pick",
    "test-oracle",
    "thread",
    "deleted",
    "objection",
    "unclear",
    "unknown",
]
"""The words of a command; "thread" if a person dismissed a finding in its review thread; "deleted"
if a person deleted its first comment; "objection" if a person wants a dismissed finding fixed;
"unclear" for a reply that may be a dismissal; "unknown" for a command that HLS does
not have.
"""

NAMES: tuple[CommandName, ...] = (
    "stop",
    "resume",
    "review",
    "review full",
    "help",
    "dismiss",
    "undismiss",
)

LIKENESS = 0.83
"""Share of letters in common from which a word is a mistyped command ("reveiw"). Commands of other
bots share less.
"""

NEW_COMMENT = "issue_comment.created"
RERUN_CHECK = "check_run.rerequested"
NEW_REPLY = "pull_request_review_comment.created"
RESOLVED_THREAD = "pull_request_review_thread.resolved"
UNRESOLVED_THREAD = "pull_request_review_thread.unresolved"
BY_PEOPLE = (NEW_COMMENT, NEW_REPLY, DELETED_COMMENT, RESOLVED_THREAD, UNRESOLVED_THREAD)
"""Events that can be a command of a person, besides `RERUN_CHECK`."""


DESCRIBED: Mapping[CommandName, str] = {
    "thread": "a dismissal in a review thread",
    "deleted": "a deleted comment of a review thread",
    "objection": "an objection to a dismissal",
    "unclear": "a reply in a review thread that may be a dismissal",
    "unknown": "a command that HLS does not have",
}


@dataclass(frozen=True, slots=True)
class Command:
    """Routing decision: a person gave a command. The worker checks the person's permission."""

    event_key: str  # "issue_comment.created"
    name: CommandName
    effective: EffectiveSettings
    finding: int | None = None  # number of the finding to dismiss or undismiss
    thread: int | None = None  # id of the first comment of the review thread

    @property
    def description(self) -> str:
        if self.event_key == RERUN_CHECK:
            return "a request to run the check again"
        if self.event_key == UNRESOLVED_THREAD:
            return "an unresolved review thread"
        return DESCRIBED.get(self.name, f"the command /{self.name}")

    def why(self, sources: Sources) -> str:
        """Return a sentence with the line of the settings that enables pull requests."""
        where = sources.where(f"{self.effective.key}.events")
        return f"{self.description}, and {where} enables events of pull requests"


class GivenCommand(NamedTuple):
    name: CommandName
    number: int | None = None  # of the finding to dismiss or undismiss


def parse_command(text: str, accounts: Sequence[Account] = ()) -> GivenCommand | None:
    """Return the command in the first line of a comment, and its number; None if that line is
    anything else.

    The line may address one of HLS's `accounts`; anybody while they are unknown. A command that HLS
    does not have is "unknown" if it addresses HLS, or is like one of HLS's. All others are left to
    other bots.
    """
    login, line = read_command_line(text)
    names = [mentioned_name(account.login) for account in accounts]
    if login and names and not any(same_login(login, name) for name in names):
        return None
    if line.partition(" ")[0] == CHERRY_PICK_WORD:
        return GivenCommand("cherry-pick")
    if line == "/test-oracle":
        return GivenCommand("test-oracle")
    match = COMMAND_LINE.fullmatch(line)
    if match is not None:
        canonical = next(name for name in NAMES if name == match[1])
        number = int(match[2]) if match[2] else None
        return GivenCommand(canonical, number)
    word = re.split(r"[^\w-]", line.removeprefix("/"), maxsplit=1)[0]
    alike = [name for name in NAMES if name[0] == word[:1]]
    if login or get_close_matches(word, alike, 1, LIKENESS):
        return GivenCommand("unknown")
    return None


def may_be_command(event_key: str, effective: EffectiveSettings, settings: Settings) -> bool:
    """Return True if `route_command` may find a command in an event with this key."""
    has_pull_requests = any(event.partition(".")[0] == "pull_request" for event in effective.events)
    is_candidate = event_key in BY_PEOPLE or (
        event_key == RERUN_CHECK and settings.github.app is not None
    )
    return is_candidate and has_pull_requests


def list_needed_events(effective: EffectiveSettings, settings: Settings) -> frozenset[str]:
    """Return the names of the events that GitHub must send for an entry of `repositories`, commands
    included.
    """
    command_keys = (
        key for key in (*BY_PEOPLE, RERUN_CHECK) if may_be_command(key, effective, settings)
    )
    return frozenset(key.partition(".")[0] for key in (*effective.events, *command_keys))


def route_command(
    routing_input: RoutingInput,
    effective: EffectiveSettings,
    settings: Settings,
    accounts: Sequence[Account],
) -> Command | Ignored | None:
    """Return the command, `Ignored` if HLS itself or a bot gave it, and None if the event is no
    command.

    A command is the first line of a new comment on a pull request, on its lines too, what people
    say in a review thread of a finding, or the request to run HLS's own check again. Commands need
    no entry in `effective.events`, if it has any event of pull requests.
    """
    command = _find_command(routing_input, settings, accounts)
    if command is None or not may_be_command(routing_input.key, effective, settings):
        return None
    # another bot may have the same command
    if not getattr(effective.features, command.name.replace("-", "_"), True):
        return None
    own_action = find_own_action(routing_input, settings, accounts)
    if own_action is not None:
        return own_action
    if routing_input.sender_is_bot:
        reason = f"{routing_input.sender} is a bot; only people can give HLS commands"
        return Ignored("other bot", reason)
    thread = routing_input.thread
    return Command(
        routing_input.key, command.name, effective, finding=command.number, thread=thread
    )


def _find_command(
    routing_input: RoutingInput, settings: Settings, accounts: Sequence[Account]
) -> GivenCommand | None:
    key = routing_input.key
    if key == RERUN_CHECK:
        app = settings.github.app
        if app is None or routing_input.check_app_id != app.id:
            return None
        if routing_input.check_name == TITLE_CHECK:
            return None
        return GivenCommand("review full")
    if not routing_input.is_pull_request:
        return None
    is_in_thread = routing_input.thread is not None
    is_by_sender = same_login(routing_input.comment_author, routing_input.sender)
    if key == NEW_COMMENT and is_by_sender:
        return parse_command(routing_input.comment_body, accounts)
    if key == RESOLVED_THREAD and is_in_thread:
        return GivenCommand("thread")
    if key == UNRESOLVED_THREAD and is_in_thread:
        return GivenCommand("undismiss")
    if key == DELETED_COMMENT and is_in_thread:
        return GivenCommand("deleted")
    if key != NEW_REPLY or not is_by_sender:
        return None
    if is_in_thread:
        return _find_in_reply(routing_input.comment_body, accounts)
    return parse_command(routing_input.comment_body, accounts)


def _find_in_reply(text: str, accounts: Sequence[Account]) -> GivenCommand | None:
    """Return what a reply in a review thread asks for; None if it is no command."""
    command = parse_command(text, accounts)
    if command is not None:
        return command
    kind = read_reply(text)
    is_question = is_addressed(text, accounts) and (kind != "dismissal" or "?" in text)
    if kind is None or is_question:
        return None
    if kind == "dismissal":
        return GivenCommand("thread")
    return GivenCommand(kind)
