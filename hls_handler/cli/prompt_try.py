"""`hls prompts try`: run one event through the pipeline with dry run on, and print every step for prompt authors."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import SecretStr

from hls_handler.cli.event_input import LIVE_HELP, SUBJECT_HELP, Subject, load_subject, with_remedy
from hls_handler.cli.options import Config, abort, fail, load_without_credentials, print_lines, require_credential
from hls_handler.cli.prompt_library import get_prompt, load_library
from hls_handler.cli.prompt_try_report import print_result, to_dict
from hls_handler.cli.prompt_try_runner import TryResult, TryRunner
from hls_handler.clients.claude import Claude
from hls_handler.clients.github import connect_read_only
from hls_handler.db.files import database_exists
from hls_handler.errors import HlsError, PayloadError
from hls_handler.events import Account, Event
from hls_handler.history.conversations import ConversationState
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.work.pipeline import Ended

if TYPE_CHECKING:
    from hls_handler.sandbox.server import Sandbox

ClaudeSource = Literal["real", "sandbox"]
CLAUDE_SOURCES: tuple[ClaudeSource, ...] = ("real", "sandbox")

SANDBOX_ALTERNATIVE = "use --claude sandbox, whose answers are canned"
PAYLOAD_ALTERNATIVE = "try a payload, which needs none: issues.opened"


def try_(
    subject: Annotated[str, typer.Argument(metavar="EVENT.json|NAME|URL", help=SUBJECT_HELP)],
    prompt: Annotated[
        str | None,
        typer.Option(help="Use this prompt instead of the event's own, even if the service would ignore the event."),
    ] = None,
    event: Annotated[str | None, typer.Option(help="The event's name, if the file does not contain it.")] = None,
    live: Annotated[bool, typer.Option("--live", help=LIVE_HELP)] = False,
    claude: Annotated[
        str, typer.Option(metavar="real|sandbox", help="Get replies from Claude or from the sandbox (canned).")
    ] = "real",
    full: Annotated[bool, typer.Option("--full", help="Print the whole system message.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: Config = None,
) -> None:
    """Try a prompt on an event, with a real reply from Claude.

    Prints the rule and the prompt that the service would use for the event, or why it would ignore it; the question to
    Claude; the reply; the labels and the comment that would be written to GitHub; tokens and cost. It runs the
    service's own pipeline with features.dry_run on. Nothing is written to GitHub or to the service's database. Claude's
    reply costs money; the service's claude.calls_per_hour is neither checked nor used up by it.

    For a payload, the facts come from the built-in sandbox or, with --live, from GitHub. For an issue or a pull
    request, an `opened` event is built from its current state on GitHub. With --prompt, a closed or locked issue or
    pull request is treated as if it were open.

    Exit codes: 0 tried; 1 the service would not process the event, or a step failed; 2 usage error, or unusable
    settings or prompts.
    """
    source = next((one for one in CLAUDE_SOURCES if one == claude), None)
    if source is None:
        raise typer.BadParameter(f"must be one of {', '.join(CLAUDE_SOURCES)}", param_hint="--claude")
    settings = load_without_credentials(config)
    if source == "real":
        require_credential(settings, "claude.api_key", alternative=SANDBOX_ALTERNATIVE)
    library = load_library(settings)
    named_prompt = None if prompt is None else get_prompt(library, prompt)
    chosen = load_subject(subject, event, live=live, settings=settings, alternative=PAYLOAD_ALTERNATIVE)
    notes: list[str] = []
    tried = _try(settings, library, chosen, named_prompt, source, notes)
    if as_json:
        print_lines(json.dumps(to_dict(chosen, tried, notes, claude=source), indent=2))
    else:
        print_result(chosen, tried, notes, sources=settings.sources, full=full, canned=source == "sandbox")
    if not isinstance(tried.end, Ended):
        raise typer.Exit(1)


def _try(
    settings: Settings,
    library: Library,
    subject: Subject,
    prompt: Prompt | None,
    source: ClaudeSource,
    notes: list[str],
) -> TryResult:
    """Run the event. Exits with 2 if the body does not fit the event, and with 1 if the bot account is unknown."""

    def load_history(event: Event, number: int, account: Account) -> ConversationState:
        try:
            return _load_history(settings, event, number, account) if subject.live else NO_HISTORY
        except HlsError as exc:
            notes.append(f"the service's stored data about this issue or pull request could not be read: {exc}")
            return NO_HISTORY

    with ExitStack() as stack:
        needs_sandbox = source == "sandbox" or not subject.live
        from hls_handler.sandbox.server import Sandbox  # here: `hls serve` does not need it

        sandbox = stack.enter_context(Sandbox()) if needs_sandbox else None
        settings_used = settings
        if sandbox is not None:
            sandbox.state.seed(subject.event, subject.payload)
            settings_used = _with_stand_ins(settings, sandbox, github=not subject.live, claude=source == "sandbox")
        try:
            github = connect_read_only(settings_used.github, now=_utc_now, assume_open=prompt is not None)
            stack.enter_context(closing(github))
            claude = Claude(settings_used.claude, clock=time.monotonic, now=_utc_now)
            stack.enter_context(closing(claude))
            runner = TryRunner(settings, library, github, claude, load_history, pause=time.sleep, clock=time.monotonic)
            tried = runner.run(subject, prompt)
        except PayloadError as exc:
            abort([f"{subject.name}: {exc}"])
        except HlsError as exc:
            fail(with_remedy(exc))
        if subject.live and tried.rule is not None and tried.event.thread is None:
            notes.append(
                "the service's stored data about the issue or pull request and about earlier failures is not used here"
            )
        return tried


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _with_stand_ins(settings: Settings, sandbox: Sandbox, *, github: bool, claude: bool) -> Settings:
    """Return the settings with the sandbox in place of GitHub, Claude, or both."""
    parts: dict[str, object] = {}
    if github:
        sandbox_access = {"token": SecretStr(sandbox.token), "base_url": sandbox.github_url}
        parts["github"] = settings.github.model_copy(update=sandbox_access)
    if claude:
        sandbox_access = {"api_key": SecretStr(sandbox.api_key), "base_url": sandbox.claude_url}
        parts["claude"] = settings.claude.model_copy(update=sandbox_access)
    return settings.model_copy(update=parts)


NO_HISTORY = ConversationState(labels={}, comments={})


def _load_history(settings: Settings, event: Event, number: int, account: Account) -> ConversationState:
    """Read what the service stored about this issue or pull request; empty if there is no database."""
    if not database_exists(settings.storage.url):
        return NO_HISTORY
    with closing(Storage.open_read_only(settings.storage.url)) as store:
        return store.conversations.find(event.repository.id, number, account.login)
