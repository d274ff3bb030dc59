"""`hls prompts try`: for prompt authors, what Claude would be asked and would answer, before anybody else sees it."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer
from pydantic import SecretStr

from hls_handler.cli.options import Config, fail, load_without_credentials, need, refuse
from hls_handler.cli.prompt_finding import find_library, find_prompt
from hls_handler.cli.prompt_tried import document, show
from hls_handler.cli.say import say_lines
from hls_handler.cli.subjects import LIVE_HELP, SUBJECT_HELP, Subject, find_subject, with_remedy
from hls_handler.cli.trying import Tried, Try
from hls_handler.clients.claude import Claude
from hls_handler.clients.looking import look
from hls_handler.errors import HlsError, PayloadError
from hls_handler.events import Account, Event
from hls_handler.prompting.library import Library, Prompt
from hls_handler.sandbox.server import Sandbox
from hls_handler.settings.model import Settings
from hls_handler.store import Store, ThreadKnowledge, database_exists
from hls_handler.work.pipeline import Ended

WhichClaude = Literal["real", "sandbox"]
CLAUDES: tuple[WhichClaude, ...] = ("real", "sandbox")

KEYLESS = "use --claude sandbox, whose answers are canned"
TOKENLESS = "try a payload, which needs none: issues.opened"


def try_(
    subject: Annotated[str, typer.Argument(metavar="EVENT.json|NAME|URL", help=SUBJECT_HELP)],
    prompt: Annotated[
        str | None,
        typer.Option(help="Another prompt than the event's, also where the service would leave the event alone."),
    ] = None,
    event: Annotated[str | None, typer.Option(help="The event's name, where a file does not tell it.")] = None,
    live: Annotated[bool, typer.Option("--live", help=LIVE_HELP)] = False,
    claude: Annotated[
        str, typer.Option(metavar="real|sandbox", help="Who answers: Claude, or the sandbox with canned answers.")
    ] = "real",
    full: Annotated[bool, typer.Option("--full", help="Print the system message whole.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")] = False,
    config: Config = None,
) -> None:
    """Try a prompt out on an event, with Claude's real answer.

    Prints by which rule and prompt the service would work on the event, or why it would leave it alone; what Claude is
    asked; the reply; the labels and the comment that would come of it on GitHub; tokens and cost. It is the service's
    own pipeline with features.dry_run on. Nothing is written to GitHub or to the service's database. Claude's answer
    costs money, also where claude.calls_per_hour is used up.

    Of a payload, the facts come from the built-in sandbox, or with --live from GitHub. For an issue or a pull request,
    an `opened` event is made of what GitHub shows of it. With --prompt, a thread that is closed or locked is tried as
    if it were open.

    Exit codes: 0 tried; 1 nothing would be done with the event, or something went wrong on the way; 2 called wrongly,
    or settings or prompts cannot be used.
    """
    who = next((known for known in CLAUDES if known == claude), None)
    if who is None:
        raise typer.BadParameter(f"one of {', '.join(CLAUDES)}", param_hint="--claude")
    settings = load_without_credentials(config)
    if who == "real":
        need(settings, "claude.api_key", otherwise=KEYLESS)
    library = find_library(settings)
    chosen = None if prompt is None else find_prompt(library, prompt)
    looked_at = find_subject(subject, event, live=live, settings=settings, instead=TOKENLESS)
    notes: list[str] = []
    tried = _tried(settings, library, looked_at, chosen, who, notes)
    if as_json:
        say_lines(json.dumps(document(looked_at, tried, notes, claude=who), indent=2))
    else:
        show(looked_at, tried, notes, sources=settings.sources, full=full, canned=who == "sandbox")
    if not isinstance(tried.end, Ended):
        raise typer.Exit(1)


def _tried(
    settings: Settings, library: Library, subject: Subject, prompt: Prompt | None, who: WhichClaude, notes: list[str]
) -> Tried:
    """Exits with 2 for a body that is no such event, and with 1 where GitHub does not say who we are."""

    def remembered(event: Event, number: int, we: Account) -> ThreadKnowledge:
        try:
            return _remembered(settings, event, number, we) if subject.live else NOTHING
        except HlsError as exc:
            notes.append(f"what the service remembers of this thread is not known here: {exc}")
            return NOTHING

    with ExitStack() as held:
        needs_sandbox = who == "sandbox" or not subject.live
        sandbox = held.enter_context(Sandbox()) if needs_sandbox else None
        settings_used = settings
        if sandbox is not None:
            sandbox.state.plant(subject.event, subject.payload)
            settings_used = _with_stand_ins(settings, sandbox, github=not subject.live, claude=who == "sandbox")
        try:
            github = look(settings_used.github, now=_utc_now, as_if_open=prompt is not None)
            held.enter_context(closing(github))
            asked = Claude(settings_used.claude, clock=time.monotonic, now=_utc_now)
            held.enter_context(closing(asked))
            attempt = Try(settings, library, github, asked, remembered, pause=time.sleep, clock=time.monotonic)
            tried = attempt.run(subject, prompt)
        except PayloadError as exc:
            refuse([f"{subject.name}: {exc}"])
        except HlsError as exc:
            fail(with_remedy(exc))
        if subject.live and tried.by is not None and tried.event.thread is None:
            notes.append("what the service remembers of the thread and of earlier failures is not known here")
        return tried


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _with_stand_ins(settings: Settings, sandbox: Sandbox, *, github: bool, claude: bool) -> Settings:
    """The settings with the sandbox in the place of GitHub, of Claude, or of both."""
    parts: dict[str, object] = {}
    if github:
        there = {"token": SecretStr(sandbox.token), "base_url": sandbox.github_url}
        parts["github"] = settings.github.model_copy(update=there)
    if claude:
        there = {"api_key": SecretStr(sandbox.api_key), "base_url": sandbox.claude_url}
        parts["claude"] = settings.claude.model_copy(update=there)
    return settings.model_copy(update=parts)


NOTHING = ThreadKnowledge(labels={}, comments={})


def _remembered(settings: Settings, event: Event, number: int, we: Account) -> ThreadKnowledge:
    """From the service's database, where there is one; it is only read."""
    if not database_exists(settings.storage.url):
        return NOTHING
    with closing(Store.open_as_it_is(settings.storage.url)) as store:
        return store.known_of_thread(event.repository.id, number, we.login)
