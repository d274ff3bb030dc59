"""`hls prompts try`: run one event through the pipeline with features.dry_run on, and print every step.

The database is temporary and the GitHub client is read-only, so the event changes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer
from pydantic import SecretStr

from hls_handler.analysis import UnusableReply, Usage, ValidReply
from hls_handler.cli.event_input import LIVE_HELP, SUBJECT_HELP, Subject, load_subject
from hls_handler.cli.options import (
    Config,
    abort,
    connect_claude,
    fail,
    lacks_github_token,
    load,
    print_lines,
    require_claude_key,
    utc_now,
)
from hls_handler.cli.prompt_library import get_prompt, load_library
from hls_handler.cli.prompt_try_report import Question, TryResult, is_closed_or_locked, print_result, to_dict
from hls_handler.clients.github import ReadOnlyGithub, connect_read_only
from hls_handler.db.files import database_exists
from hls_handler.deliveries import Lease
from hls_handler.engine.active_config import ChosenAccount, Claude, DeliveryConfig, WorkerContext
from hls_handler.engine.health import Health
from hls_handler.engine.job import Job
from hls_handler.engine.library import GUID
from hls_handler.engine.pipeline import run_job
from hls_handler.engine.posting import OUTCOME
from hls_handler.errors import (
    ConversationIgnored,
    HlsError,
    PayloadError,
    Postponed,
    Retryable,
    StepFailed,
    Superseded,
    with_remedy,
)
from hls_handler.events import Account, Event, parse_event
from hls_handler.handlers import handler_for
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.queue.checkpoints import PendingChanges
from hls_handler.queue.leases import ExclusiveLease
from hls_handler.routing import Command, Ignored, LabelCorrection, QueueCheck, Rule, from_event, parse_envelope, route
from hls_handler.settings.effective import RepositoryTable, without_entry
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.conversations import ConversationState
from hls_handler.web.webhook import WebhookHeaders, check_payload, new_delivery

ClaudeSource = Literal["real", "sandbox"]

LEASE_S = 86_400.0
"""A day: longer than any run, so the lease is never renewed. No other worker uses the temporary store."""

FORCE_HINT = "; use --prompt NAME to try it anyway"
SANDBOX_ALTERNATIVE = "use --claude sandbox, whose answers are canned"
READ_ANONYMOUSLY = (
    "no token is set, so GitHub is read without one: public repositories only, 60 requests an hour, and for a review "
    "neither linked issues nor code around the hunks"
)


def try_(
    subject: Annotated[str, typer.Argument(metavar="EVENT.json|NAME|URL", help=SUBJECT_HELP)],
    prompt: Annotated[
        str | None,
        typer.Option(help="Use this prompt instead of the event's own, even if the service would ignore the event."),
    ] = None,
    event: Annotated[str | None, typer.Option(help="The event's name, if the file does not contain it.")] = None,
    live: Annotated[bool, typer.Option("--live", help=LIVE_HELP)] = False,
    claude: Annotated[
        ClaudeSource, typer.Option(metavar="real|sandbox", help="Get replies from Claude or from the sandbox (canned).")
    ] = "real",
    full: Annotated[bool, typer.Option("--full", help="Print the whole system message.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: Config = None,
) -> None:
    """Try a prompt on an event, with a real reply from Claude.

    Prints the rule and the prompt that the service would use for the event, or why the event would be ignored. Then
    prints the question to Claude, the reply, the labels and the comment that would be written to GitHub, and the cost.
    The service's own pipeline runs with features.dry_run on: nothing is written to GitHub or to the service's database.
    Claude's reply costs money, but does not count towards the service's claude.calls_per_hour.

    The facts about the event come from the built-in sandbox. With --live, or for the URL of an issue or a pull request,
    the facts are read from GitHub. A URL is tried as an `opened` event, with the current state of the issue or pull
    request. Without a token, public repositories can be read, with 60 requests an hour. With --prompt, a closed or
    locked issue or pull request is treated as if it were open.

    Exit codes: 0 tried; 1 the service would not process the event, or a step failed; 2 usage error, or unusable
    settings or prompts.
    """
    settings = load(config, credentials=False)
    if claude == "real":
        require_claude_key(settings, alternative=SANDBOX_ALTERNATIVE)
    library = load_library(settings)
    named_prompt = None if prompt is None else get_prompt(library, prompt)
    chosen = load_subject(subject, event, live=live, settings=settings)
    notes = [READ_ANONYMOUSLY] if chosen.live and lacks_github_token(settings) else []
    tried = _try(settings, library, chosen, named_prompt, claude, notes)
    if as_json:
        print_lines(json.dumps(to_dict(chosen, tried, notes, claude=claude), indent=2))
    else:
        print_result(chosen, tried, notes, sources=settings.sources, full=full, canned=claude == "sandbox")
    if not tried.is_done:
        raise typer.Exit(1)


def _try(
    settings: Settings,
    library: Library,
    subject: Subject,
    prompt: Prompt | None,
    source: ClaudeSource,
    notes: list[str],  # gets a sentence if stored data about the event is not used
) -> TryResult:
    def load_history(event: Event, number: int, account: Account) -> ConversationState:
        try:
            if subject.live and database_exists(settings.storage.url):
                with closing(Storage.open_existing(settings.storage.url)) as store:
                    return store.conversations.find(event.repository.id, number, account.login)
        except HlsError as exc:
            notes.append(f"the service's stored data about this issue or pull request could not be read: {exc}")
        return ConversationState(labels={}, comments={})

    try:
        with ExitStack() as stack:
            if source == "sandbox" or not subject.live:
                settings = _use_sandbox(stack, settings, subject, source)
            anonymous = subject.live and lacks_github_token(settings)
            github = connect_read_only(
                settings.github, now=utc_now, assume_open=prompt is not None, anonymous=anonymous
            )
            stack.enter_context(closing(github))
            claude = stack.enter_context(connect_claude(settings.claude))
            tried = TryRunner(settings, library, github, claude, load_history).run(subject, prompt)
    except PayloadError as exc:
        abort(f"{subject.name}: {exc}")
    except HlsError as exc:
        fail(with_remedy(exc))
    if subject.live and tried.rule is not None and tried.event.conversation is None:
        notes.append(
            "the service's stored data about the issue or pull request and about earlier failures is not used here"
        )
    return tried


def _use_sandbox(stack: ExitStack, settings: Settings, subject: Subject, source: ClaudeSource) -> Settings:
    """Start a sandbox that has the event, and return settings with which it is GitHub, Claude, or both."""
    from hls_handler.sandbox.server import Sandbox  # here: `hls serve` does not need it

    sandbox = stack.enter_context(Sandbox())
    sandbox.state.seed(subject.event, subject.payload)
    github, claude = settings.github, settings.claude
    if not subject.live:
        access = {"token": SecretStr(sandbox.token), "base_url": sandbox.github_url, "app": None, "tokens": None}
        github = github.model_copy(update=access)
    if source == "sandbox":
        claude = claude.model_copy(update={"api_key": SecretStr(sandbox.api_key), "base_url": sandbox.claude_url})
    return settings.model_copy(update={"github": github, "claude": claude})


@dataclass(slots=True)
class _RecordingClaude:
    claude: Claude
    questions: list[Question] = field(default_factory=list)

    def upper_estimate(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> Usage:
        return self.claude.upper_estimate(rendered, correction=correction)

    def ask(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> ValidReply | UnusableReply:
        question = Question(rendered, self.upper_estimate(rendered).model, correction)
        self.questions.append(question)
        question.answer = self.claude.ask(rendered, correction=correction)
        return question.answer


@dataclass(frozen=True, slots=True)
class TryRunner:
    """Runs events with features.dry_run on. `load_history` returns labels and comments that the service has stored."""

    settings: Settings
    library: Library
    github: ReadOnlyGithub
    claude: Claude
    load_history: Callable[[Event, int, Account], ConversationState]
    pause: Callable[[float], object] = time.sleep  # seconds
    open_store: Callable[[str], Storage] = Storage.open  # opens the temporary store by its URL

    def run(self, subject: Subject, prompt: Prompt | None) -> TryResult:
        """Run the event with `prompt`. If `prompt` is None, routing chooses the prompt or ignores the event.

        A given `prompt` runs for ignored events, too. Raises `PayloadError` if the body does not match the event, and
        `DependencyDown` if GitHub does not return the bot account. The error of a failed step is not raised: it is in
        `reason` of the result.
        """
        check_payload(subject.event, parse_envelope(subject.body))
        event, account = parse_event(subject.event, GUID, subject.body), self.github.fetch_bot_account()
        config = DeliveryConfig(self.settings, RepositoryTable(self.settings), self.library)
        routed = route(
            from_event(event), settings=config.settings, table=config.table, catalogue=config.library, bot=account
        )
        if isinstance(routed, LabelCorrection | Command | QueueCheck):
            routed = Ignored("no prompt", f"{routed.why(self.settings.sources)}; no prompt is used for them")
        rule = routed if isinstance(routed, Rule) else None
        if prompt is not None:
            found = config.table.find(event.repository.full_name)
            effective = rule.effective if rule else found or without_entry(self.settings)
            rule = Rule(event.key, prompt.name, effective, prompt.path)
        if rule is None:
            # --prompt does not override an opt-out, so the message does not suggest it.
            hint = "" if isinstance(routed, Ignored) and routed.kind == "asked to skip" else FORCE_HINT
            return TryResult(event, routed, "ignored", f"the service would ignore this event, see above{hint}")
        features = rule.effective.features.model_copy(update={"dry_run": True})
        rule = replace(rule, effective=replace(rule.effective, features=features))
        claude = _RecordingClaude(self.claude)
        with (
            TemporaryDirectory(prefix="hls-try-") as folder,
            closing(self.open_store(f"sqlite:///{folder}/try.db")) as store,
        ):
            context = WorkerContext(
                store=store,
                leases=ExclusiveLease(),
                github=self.github,
                claude=claude,
                health=Health(store.database.current_time),
                config=config,
                choose_account=lambda _repository_id, _number: ChosenAccount(self.github, account),
                stopping=lambda: False,
                pause=self.pause,
                jitter=lambda: 0.0,
                clock=time.monotonic,
            )
            lease = _store_and_claim(store, subject, rule)
            if event.conversation is not None:  # the number of other events is known only after reading facts
                _copy_state(self.load_history(event, event.conversation.number, account), store, lease, account)
            job = Job(lease, context, config, event, account, rule, handler_for(event.name), {})
            state, reason = _run_pipeline(job, hint="" if self.github.assume_open else FORCE_HINT)
            steps = sorted(store.checkpoints.load(GUID).items())
        outcomes = (OUTCOME.decode(step) for (name, _), step in steps if name == OUTCOME.name)
        made = tuple(outcome for outcome in outcomes if outcome is not None)
        return TryResult(event, routed, state, reason, self.github.assume_open, rule, tuple(claude.questions), made)


def _run_pipeline(job: Job, *, hint: str) -> tuple[str, str]:
    """Return the state in which the job ends, and the reason. `hint` follows if the issue is closed or locked."""
    while True:
        try:
            result = run_job(replace(job, steps=job.store.checkpoints.load(job.lease.guid)))
        except Postponed as wait:
            if wait.waiting_for is not None:  # claude.calls_per_hour is used up
                return "failed", f"{wait}; the service would retry"
            job.context.pause(max((wait.at - job.store.now()).total_seconds(), 0.001))
        except Superseded as exc:
            state = "ignored" if isinstance(exc, ConversationIgnored) else "superseded"
            is_ended = is_closed_or_locked(job.event) and hint
            return state, f"{exc}; the service would do nothing{hint}" if is_ended else str(exc)
        except StepFailed as exc:
            retried = "; the service would retry" if isinstance(exc, Retryable) else ""
            return "failed", f"{with_remedy(exc)}{retried}"
        else:
            job.store.checkpoints.save(job.lease, *result.changes)
            return result.state, result.reason


def _store_and_claim(store: Storage, subject: Subject, rule: Rule) -> Lease:
    headers = WebhookHeaders(subject.event, GUID, signature=b"", is_form=False, content_length=None)
    new = new_delivery(headers, parse_envelope(subject.body), rule, subject.body, request_id="try", settle_s=0)
    store.queue.accept([new], replay_window_h=0)
    lease = store.queue.claim(worker="try", lease_s=LEASE_S, max_crashes=1)
    assert lease is not None  # the only delivery of a new store
    return lease


def _copy_state(state: ConversationState, store: Storage, lease: Lease, account: Account) -> None:
    changes = PendingChanges()
    history = store.conversations.history(lease, account.login, pending=changes)
    for name, label_state in state.labels.items():
        history.change_labels((name,), label_state)
    for family, comment in state.comments.items():
        history.store_comment(family, comment)
    store.checkpoints.save(lease, *changes.take())
