"""Commands: requests of people in comments on pull requests, and of checks to run again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from hls_handler.events import Account
from hls_handler.routing.envelope import RoutingInput
from hls_handler.routing.filters import Ignored, ignore_own_action, is_own_action, same_login
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.settings.yaml_parser import Sources

CommandName = Literal["stop", "resume", "review", "review full", "help"]

COMMAND = re.compile(r"/(stop|resume|review|help)(?:[ \t]+(full))?[ \t\r]*", re.ASCII | re.IGNORECASE)
"""Matches the whole first line of a comment. Other blanks and invisible characters are no part of a command."""

NEW_COMMENT, RERUN_CHECK = "issue_comment.created", "check_run.rerequested"


@dataclass(frozen=True, slots=True)
class Command:
    """Routing decision: a person gave a command. The worker checks the person's permission; no prompt runs."""

    event_key: str  # "issue_comment.created"
    name: CommandName
    effective: EffectiveSettings

    def why(self, sources: Sources) -> str:
        """Return a sentence with the line of the settings that enables pull requests."""
        where = sources.where(f"{self.effective.key}.events")
        what = "a request to run the check again" if self.event_key == RERUN_CHECK else f"the command /{self.name}"
        return f"{what}, and {where} enables events of pull requests"


def parse_command(text: str) -> CommandName | None:
    """Return the command that is the first line of a comment; None if that line is anything else."""
    found = COMMAND.fullmatch(text.partition("\n")[0])
    name = " ".join(filter(None, found.groups())).lower() if found else None
    return next((one for one in get_args(CommandName) if one == name), None)


def may_be_command(event_key: str, effective: EffectiveSettings, settings: Settings) -> bool:
    """Return whether `route_command` could find a command in an event of which only the key is known."""
    has_pull_requests = any(event.partition(".")[0] == "pull_request" for event in effective.events)
    is_candidate = event_key == NEW_COMMENT or (event_key == RERUN_CHECK and settings.github.app is not None)
    return is_candidate and has_pull_requests


def route_command(
    routing_input: RoutingInput,
    effective: EffectiveSettings,
    *,
    settings: Settings,
    bot: Account | None,
    others: Sequence[Account] = (),
) -> Command | Ignored | None:
    """Return the command, `Ignored` if HLS itself or a bot gave it, and None if the event is no command.

    A command is the first line of a new comment on a pull request, or the request to run HLS's own check again.
    Commands need no entry in `effective.events`, if it has any event of pull requests.
    """
    name = _find_command(routing_input, settings)
    if name is None or not may_be_command(routing_input.key, effective, settings):
        return None
    for account in ((bot,) if bot is not None else ()) + tuple(others):
        if is_own_action(routing_input, account):
            return ignore_own_action(settings, account)
    if routing_input.sender_is_bot:
        return Ignored("other bot", f"{routing_input.sender} is a bot; only people can give HLS commands")
    return Command(routing_input.key, name, effective)


def _find_command(routing_input: RoutingInput, settings: Settings) -> CommandName | None:
    if routing_input.key == RERUN_CHECK:
        app = settings.github.app
        return "review full" if app is not None and routing_input.check_app_id == app.id else None
    is_by_sender = same_login(routing_input.comment_author, routing_input.sender)
    if routing_input.key != NEW_COMMENT or not routing_input.is_pull_request or not is_by_sender:
        return None
    return parse_command(routing_input.comment_body)
