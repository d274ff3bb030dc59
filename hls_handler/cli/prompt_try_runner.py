"""Run one event through the service's pipeline with a temporary store and a read-only GitHub client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory

from hls_handler.actions import Outcome
from hls_handler.analysis import UnusableReply, ValidReply
from hls_handler.cli.deliveries import load_report
from hls_handler.cli.event_input import Subject
from hls_handler.clients.github import ReadOnlyGithub
from hls_handler.deliveries import Lease
from hls_handler.errors import Postponed, StepFailed, Superseded
from hls_handler.events import Account, Event, parse_event
from hls_handler.handlers import handler_for
from hls_handler.history.conversations import ConversationHistory, ConversationState
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.queue.changes import Change
from hls_handler.queue.leases import ExclusiveLease
from hls_handler.routing import Ignored, LabelCorrection, Rule, from_event, parse_envelope, route
from hls_handler.settings.effective import EffectiveSettings, RepositoryTable
from hls_handler.settings.model import Repository, Settings
from hls_handler.storage import Storage
from hls_handler.web.webhook import WebhookHeaders, check_payload, new_delivery
from hls_handler.work.active_config import Claude, DeliveryConfig, WorkerContext
from hls_handler.work.health import Health
from hls_handler.work.job import Job
from hls_handler.work.library import GUID
from hls_handler.work.pipeline import Ended, run_job

LEASE_S = 86_400.0
"""A day, so that the lease need not be renewed; no other worker uses the temporary store."""


@dataclass(slots=True)
class Question:
    """One request to Claude and its reply."""

    rendered: RenderedPrompt
    model: str
    correction: UnusableReply | None  # the previous reply, which failed validation
    answer: ValidReply | UnusableReply | None = None  # None if the call failed


@dataclass(slots=True)
class _RecordingClaude:
    """A Claude client that records every question."""

    claude: Claude
    questions: list[Question] = field(default_factory=list)

    def model_for(self, rendered: RenderedPrompt) -> str:
        return self.claude.model_for(rendered)

    def ask(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> ValidReply | UnusableReply:
        question = Question(rendered, self.model_for(rendered), correction)
        self.questions.append(question)
        question.answer = self.claude.ask(rendered, correction=correction)
        return question.answer


@dataclass(frozen=True, slots=True)
class TryResult:
    """Result of a try: what the service would do with the event, the questions to Claude, and the planned writes."""

    event: Event
    routed: Rule | Ignored  # the service's decision about the event
    assume_open: bool  # a closed or locked issue or pull request was treated as open
    rule: Rule | None = None  # the rule of the try; None: the event was not tried
    questions: tuple[Question, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    end: Ended | Superseded | Postponed | StepFailed | None = None


@dataclass(frozen=True, slots=True)
class TryRunner:
    """Runs tries. `load_history` returns what the service stored about an issue or pull request for a bot account."""

    settings: Settings
    library: Library
    github: ReadOnlyGithub  # read-only
    claude: Claude
    load_history: Callable[[Event, int, Account], ConversationState]
    pause: Callable[[float], object]  # seconds
    clock: Callable[[], float]  # seconds, monotonic
    open_store: Callable[[str], Storage] = Storage.open  # opens the temporary store by its URL

    def run(self, subject: Subject, prompt: Prompt | None) -> TryResult:
        """Try the event; with `prompt`, use that prompt even if the service would ignore the event or use another one.

        Raises `PayloadError` if the body does not fit the event, and `DependencyDown` if GitHub does not return the bot
        account. Later errors are in the result's `end`.
        """
        check_payload(subject.event, parse_envelope(subject.body))
        event = parse_event(subject.event, GUID, subject.body)
        account = self.github.fetch_bot_account()
        config = DeliveryConfig(self.settings, RepositoryTable(self.settings), self.library)
        routed = route(
            from_event(event), settings=config.settings, table=config.table, catalogue=config.library, bot=account
        )
        if isinstance(routed, LabelCorrection):
            routed = Ignored("no prompt", f"{routed.why(self.settings.sources)}; no prompt is used for them")
        rule = routed if isinstance(routed, Rule) else None
        if prompt is not None:
            effective = rule.effective if rule else _effective_settings(self.settings, event.repository.full_name)
            rule = Rule(event.key, prompt.name, effective, prompt.path)
        if rule is None:
            return TryResult(event, routed, assume_open=False)
        rule = _with_dry_run(rule)
        claude = _RecordingClaude(self.claude)
        with (
            TemporaryDirectory(prefix="hls-try-") as folder,
            closing(self.open_store(f"sqlite:///{folder}/try.db")) as store,
        ):
            lease = _store_and_claim(store, subject, rule)
            context = self._make_context(store, claude, config, account)
            if event.thread is not None:  # otherwise the number is known only after reading the facts
                stored: list[Change] = []
                memory = store.conversations.history(lease, account.login, pending=stored)
                _copy_history(memory, self.load_history(event, event.thread.number, account))
                store.checkpoints.save(lease, *stored)
            end = _run_pipeline(Job(lease, context, config, event, account, rule, handler_for(event.name), {}))
            row = store.deliveries.find(lease.guid)
            outcomes = load_report(store, row).outcomes if row else ()
        return TryResult(event, routed, self.github.assume_open, rule, tuple(claude.questions), outcomes, end)

    def _make_context(self, store: Storage, claude: Claude, config: DeliveryConfig, account: Account) -> WorkerContext:
        return WorkerContext(
            store=store,
            leases=ExclusiveLease(),
            github=self.github,
            claude=claude,
            health=Health(store.database.current_time),
            config=config,
            fetch_bot_account=lambda: account,
            stopping=lambda: False,
            pause=self.pause,
            jitter=lambda: 0.0,
            clock=self.clock,
        )


def _run_pipeline(job: Job) -> Ended | Superseded | Postponed | StepFailed:
    """Run the job to its end. Waits for a slot of the rate limiter, but not for an exhausted hourly budget."""
    while True:
        try:
            ended = run_job(replace(job, steps=job.store.checkpoints.load(job.lease.guid)))
        except Postponed as wait:
            if wait.waiting_for is not None:
                return wait
            job.context.pause(max((wait.at - job.store.now()).total_seconds(), 0.001))
        except (Superseded, StepFailed) as exc:
            return exc
        else:
            job.store.checkpoints.save(job.lease, *ended.changes)  # read by `load_report`
            return ended


def _effective_settings(settings: Settings, repository: str) -> EffectiveSettings:
    """Return the repository's settings; if no entry matches it, those of an added entry with only its name."""
    found = RepositoryTable(settings).find(repository)
    if found is not None:
        return found
    named = settings.model_copy(update={"repositories": (*settings.repositories, Repository(name=repository))})
    effective = RepositoryTable(named).find(repository)
    assert effective is not None  # the added entry matches
    return effective


def _with_dry_run(rule: Rule) -> Rule:
    features = rule.effective.features.model_copy(update={"dry_run": True})
    return replace(rule, effective=replace(rule.effective, features=features))


def _store_and_claim(store: Storage, subject: Subject, rule: Rule) -> Lease:
    head = WebhookHeaders(subject.event, GUID, signature=b"", is_form=False, content_length=None)
    new = new_delivery(head, parse_envelope(subject.body), rule, subject.body, request_id="try", settle_s=0)
    store.queue.accept([new], replay_window_h=0)
    lease = store.queue.claim(worker="try", lease_s=LEASE_S, max_crashes=1)
    assert lease is not None  # the only delivery of a new store
    return lease


def _copy_history(memory: ConversationHistory, history: ConversationState) -> None:
    """Copy the service's stored labels and comments into the temporary store."""
    memory.record_label_intents(name for name, state in history.labels.items() if state == "intended")
    memory.mark_labels_set(name for name, state in history.labels.items() if state == "ours")
    memory.mark_labels_removed(name for name, state in history.labels.items() if state == "gone")
    for family, comment in history.comments.items():
        memory.store_comment(family, comment.comment_id, comment.body_digest)
