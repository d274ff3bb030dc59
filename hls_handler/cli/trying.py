"""Run one event through the service's pipeline with a temporary store and a read-only GitHub client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory

from hls_handler.actions import Outcome
from hls_handler.analysis import Answered, Unusable
from hls_handler.cli.story import tell
from hls_handler.cli.subjects import Subject
from hls_handler.clients.looking import Looking
from hls_handler.deliveries import Lease
from hls_handler.errors import Overtaken, StepFailed, Wait
from hls_handler.events import Account, Event, parse_event, sip
from hls_handler.handlers import handler_for
from hls_handler.history.conversations import ConversationHistory, ConversationState
from hls_handler.prompting.library import Library, Prompt
from hls_handler.prompting.render import Rendered
from hls_handler.queue.leases import ExclusiveLease
from hls_handler.routing import Feedback, Ignored, Rule, from_event, route
from hls_handler.settings.effective import Effective, RepositoryTable
from hls_handler.settings.model import Repository, Settings
from hls_handler.storage import Storage
from hls_handler.web.delivery import check_payload, new_delivery
from hls_handler.web.webhook import WebhookHeaders
from hls_handler.work.health import Health
from hls_handler.work.job import Job
from hls_handler.work.library import GUID
from hls_handler.work.pipeline import Ended, go_through
from hls_handler.work.ports import Claude, Now, Tools

LEASE_S = 86_400.0
"""A day, so that the lease need not be renewed; no other worker uses the temporary store."""


@dataclass(slots=True)
class Question:
    """One request to Claude and its reply."""

    rendered: Rendered
    model: str
    correction: Unusable | None  # the previous reply, which failed validation
    answer: Answered | Unusable | None = None  # None if the call failed


@dataclass(slots=True)
class RecordingClaude:
    """A Claude client that records every question."""

    claude: Claude
    questions: list[Question] = field(default_factory=list)

    def model_for(self, rendered: Rendered) -> str:
        return self.claude.model_for(rendered)

    def ask(self, rendered: Rendered, *, correction: Unusable | None = None) -> Answered | Unusable:
        question = Question(rendered, self.model_for(rendered), correction)
        self.questions.append(question)
        question.answer = self.claude.ask(rendered, correction=correction)
        return question.answer


@dataclass(frozen=True, slots=True)
class TryResult:
    """Result of a try: what the service would do with the event, the questions to Claude, and the planned writes."""

    event: Event
    routed: Rule | Ignored  # the service's decision about the event
    as_if_open: bool  # a closed or locked issue or pull request was treated as open
    rule: Rule | None = None  # the rule of the try; None: the event was not tried
    questions: tuple[Question, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    end: Ended | Overtaken | Wait | StepFailed | None = None


@dataclass(frozen=True, slots=True)
class TryRunner:
    """Runs tries. `load_history` returns what the service stored about an issue or pull request for a bot account."""

    settings: Settings
    library: Library
    github: Looking  # read-only
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
        check_payload(subject.event, sip(subject.body))
        event = parse_event(subject.event, GUID, subject.body)
        account = self.github.who_am_i()
        now = Now(self.settings, RepositoryTable(self.settings), self.library)
        routed = route(from_event(event), settings=now.settings, table=now.table, catalogue=now.library, we=account)
        if isinstance(routed, Feedback):
            routed = Ignored("no prompt", f"{routed.why(self.settings.sources)}; no prompt is used for them")
        rule = routed if isinstance(routed, Rule) else None
        if prompt is not None:
            effective = rule.effective if rule else _effective_settings(self.settings, event.repository.full_name)
            rule = Rule(event.key, prompt.name, effective, prompt.path)
        if rule is None:
            return TryResult(event, routed, as_if_open=False)
        rule = _with_dry_run(rule)
        claude = RecordingClaude(self.claude)
        with (
            TemporaryDirectory(prefix="hls-try-") as folder,
            closing(self.open_store(f"sqlite:///{folder}/try.db")) as store,
        ):
            lease = _store_and_claim(store, subject, rule)
            tools = self._tools(store, claude, now, account)
            if event.thread is not None:  # otherwise the number is known only after reading the facts
                _copy_history(
                    store.conversations.history(lease, account.login),
                    self.load_history(event, event.thread.number, account),
                )
            end = _run_pipeline(Job(lease, tools, now, event, account, rule, handler_for(event.name), {}))
            row = store.deliveries.find(lease.guid)
            outcomes = tell(store, row).outcomes if row else ()
        return TryResult(event, routed, self.github.as_if_open, rule, tuple(claude.questions), outcomes, end)

    def _tools(self, store: Storage, claude: Claude, now: Now, account: Account) -> Tools:
        return Tools(
            store=store,
            leases=ExclusiveLease(),
            github=self.github,
            claude=claude,
            health=Health(store.database.current_time),
            now=lambda: now,
            we=lambda _github: account,
            stopping=lambda: False,
            pause=self.pause,
            jitter=lambda: 0.0,
            clock=self.clock,
        )


def _run_pipeline(job: Job) -> Ended | Overtaken | Wait | StepFailed:
    """Run the job to its end. Waits for a slot of the rate limiter, but not for an exhausted hourly budget."""
    while True:
        try:
            ended = go_through(replace(job, steps=job.tools.store.checkpoints.load(job.lease.guid)))
        except Wait as wait:
            if wait.holdup is not None:
                return wait
            job.tools.pause(max((wait.at - job.tools.store.now()).total_seconds(), 0.001))
        except (Overtaken, StepFailed) as exc:
            return exc
        else:
            job.tools.store.checkpoints.save(job.lease, *ended.kept)  # read by `tell`
            return ended


def _effective_settings(settings: Settings, repository: str) -> Effective:
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
    new = new_delivery(head, sip(subject.body), rule, subject.body, request_id="try", settle_s=0)
    store.queue.accept([new], replay_window_h=0)
    lease = store.queue.claim(worker="try", lease_s=LEASE_S, max_crashes=1)
    assert lease is not None  # the only delivery of a new store
    return lease


def _copy_history(memory: ConversationHistory, history: ConversationState) -> None:
    """Copy the service's stored labels and comments into the temporary store."""
    memory.intend_labels(name for name, state in history.labels.items() if state == "intended")
    memory.confirm_labels(name for name, state in history.labels.items() if state == "ours")
    memory.labels_gone(name for name, state in history.labels.items() if state == "gone")
    for family, comment in history.comments.items():
        memory.remember_comment(family, comment.comment_id, comment.body_digest)
