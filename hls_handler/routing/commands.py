"""Commands: requests of people in comments on pull requests and in review threads, and of checks to run again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from hls_handler.events import Account
from hls_handler.review.dismissals import is_dismissal, is_promise
from hls_handler.routing.envelope import RoutingInput
from hls_handler.routing.filters import Ignored, ignore_own_action, is_own_action, own_accounts, same_login
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.settings.yaml_parser import Sources

CommandName = Literal["stop", "resume", "review", "review full", "help", "dismiss", "thread"]
"""The words of a command; "thread" if a person dismissed a finding in its review thread, or took that back."""

COMMAND = re.compile(
    r"/(stop|resume|review|review[ \t]+full|help|dismiss)(?:(?<=dismiss)[ \t]+([0-9]{1,6}))?[ \t\r]*",
    re.ASCII | re.IGNORECASE,
)
"""Matches the whole first line of a comment. Other blanks and invisible characters are no part of a command."""

NEW_COMMENT, RERUN_CHECK = "issue_comment.created", "check_run.rerequested"
NEW_REPLY = "pull_request_review_comment.created"
THREAD_EVENTS = ("pull_request_review_thread.resolved", "pull_request_review_thread.unresolved")
BY_PEOPLE = (NEW_COMMENT, NEW_REPLY, *THREAD_EVENTS)
"""Events that can be a command of a person, besides `RERUN_CHECK`."""


@dataclass(frozen=True, slots=True)
class Command:
    """Routing decision: a person gave a command. The worker checks the person's permission; no prompt runs."""

    event_key: str  # "issue_comment.created"
    name: CommandName
    effective: EffectiveSettings
    finding: int | None = None  # number of the finding to dismiss
    thread: int | None = None  # id of the first comment of the review thread

    @property
    def description(self) -> str:
        if self.event_key == RERUN_CHECK:
            return "a request to run the check again"
        return "a dismissal in a review thread" if self.name == "thread" else f"the command /{self.name}"

    def why(self, sources: Sources) -> str:
        """Return a sentence with the line of the settings that enables pull requests."""
        where = sources.where(f"{self.effective.key}.events")
        return f"{self.description}, and {where} enables events of pull requests"


def parse_command(text: str) -> tuple[CommandName, int | None] | None:
    """Return the command that is the first line of a comment, and its number; None if that line is anything else."""
    found = COMMAND.fullmatch(text.partition("\n")[0])
    if found is None:
        return None
    words = " ".join(found[1].lower().split())
    name = next(one for one in get_args(CommandName) if one == words)
    return name, int(found[2]) if found[2] else None


def may_be_command(event_key: str, effective: EffectiveSettings, settings: Settings) -> bool:
    """Return whether `route_command` could find a command in an event of which only the key is known."""
    has_pull_requests = any(event.partition(".")[0] == "pull_request" for event in effective.events)
    is_candidate = event_key in BY_PEOPLE or (event_key == RERUN_CHECK and settings.github.app is not None)
    return is_candidate and has_pull_requests


def list_needed_events(effective: EffectiveSettings, settings: Settings) -> frozenset[str]:
    """Return the names of the events that GitHub must send for an entry of `repositories`, with those of commands."""
    of_commands = (key for key in (*BY_PEOPLE, RERUN_CHECK) if may_be_command(key, effective, settings))
    return frozenset(key.partition(".")[0] for key in (*effective.events, *of_commands))


def route_command(
    routing_input: RoutingInput,
    effective: EffectiveSettings,
    *,
    settings: Settings,
    bot: Account | None,
    others: Sequence[Account] = (),
) -> Command | Ignored | None:
    """Return the command, `Ignored` if HLS itself or a bot gave it, and None if the event is no command.

    A command is the first line of a new comment on a pull request, a dismissal in a review thread, which may be that of
    somebody else, or the request to run HLS's own check again. Commands need no entry in `effective.events`, if it has
    any event of pull requests.
    """
    found = _find_command(routing_input, settings)
    if found is None or not may_be_command(routing_input.key, effective, settings):
        return None
    for account in own_accounts(bot, others):
        if is_own_action(routing_input, account):
            return ignore_own_action(settings, account)
    if routing_input.sender_is_bot:
        return Ignored("other bot", f"{routing_input.sender} is a bot; only people can give HLS commands")
    name, number = found
    thread = routing_input.thread if name == "thread" else None
    return Command(routing_input.key, name, effective, finding=number, thread=thread)


def _find_command(routing_input: RoutingInput, settings: Settings) -> tuple[CommandName, int | None] | None:
    if routing_input.key == RERUN_CHECK:
        app = settings.github.app
        return ("review full", None) if app is not None and routing_input.check_app_id == app.id else None
    if not routing_input.is_pull_request:
        return None
    is_in_thread, text = routing_input.thread is not None, routing_input.comment_body
    if routing_input.key in THREAD_EVENTS:
        return ("thread", None) if is_in_thread else None
    if not same_login(routing_input.comment_author, routing_input.sender):
        return None
    if routing_input.key == NEW_REPLY:
        return ("thread", None) if is_in_thread and (is_dismissal(text) or is_promise(text)) else None
    return parse_command(text) if routing_input.key == NEW_COMMENT else None
