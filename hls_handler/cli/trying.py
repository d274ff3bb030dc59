"""A try: one event through the service's own pipeline, over a store that is thrown away and a GitHub only looked at."""

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
from hls_handler.prompting.library import Library, Prompt
from hls_handler.prompting.render import Rendered
from hls_handler.routing import Feedback, Ignored, Rule, from_event, route
from hls_handler.sandbox.samples import DELIVERY
from hls_handler.settings.effective import Effective, RepositoryTable
from hls_handler.settings.model import Repository, Settings
from hls_handler.store import Store, ThreadKnowledge, ThreadMemory
from hls_handler.web.delivery import check_payload, new_delivery
from hls_handler.web.webhook import WebhookHeaders
from hls_handler.work.health import Health
from hls_handler.work.job import Job
from hls_handler.work.leases import NoRival
from hls_handler.work.pipeline import Ended, go_through
from hls_handler.work.ports import Claude, Now, Tools

LEASE_S = 86_400.0
"""Nobody else works on the store of a try, so its lease need not be renewed."""


@dataclass(slots=True)
class Question:
    """One request to Claude."""

    rendered: Rendered
    model: str
    correction: Unusable | None  # the reply before, which Claude was asked to mend
    answer: Answered | Unusable | None = None  # None where none came


@dataclass(slots=True)
class Watched:
    """Claude, and all that it was asked."""

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
class Tried:
    event: Event
    verdict: Rule | Ignored  # what the service would make of the event
    as_if_open: bool  # whether a thread that is closed or locked was taken for one that is neither
    by: Rule | None = None  # the rule that it was tried by; None: it was not
    questions: tuple[Question, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    end: Ended | Overtaken | Wait | StepFailed | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """What a try works with. `remembered` is what the service did on a thread as this account."""

    settings: Settings
    library: Library
    github: Looking  # cannot write, whatever it is told
    claude: Claude
    remembered: Callable[[Event, int, Account], ThreadKnowledge]
    pause: Callable[[float], object]  # seconds
    clock: Callable[[], float]  # seconds, monotonic
    open_store: Callable[[str], Store] = Store.open  # the one that is thrown away, by its address

    def run(self, subject: Subject, prompt: Prompt | None) -> Tried:
        """Try the event out; with `prompt`, even if the service would leave it alone or take another one.

        Raises `PayloadError` for a body that is no such event, and `DependencyDown` where GitHub does not say who we
        are. What goes wrong later is the end of the try.
        """
        check_payload(subject.event, sip(subject.body))
        event = parse_event(subject.event, DELIVERY, subject.body)
        we = self.github.who_am_i()
        now = Now(self.settings, RepositoryTable(self.settings), self.library)
        verdict = route(from_event(event), settings=now.settings, table=now.table, catalogue=now.library, we=we)
        if isinstance(verdict, Feedback):
            verdict = Ignored("no prompt", f"{verdict.why(self.settings.sources)}; no prompt is asked about them")
        rule = verdict if isinstance(verdict, Rule) else None
        if prompt is not None:
            effective = rule.effective if rule else _effective(self.settings, event.repository.full_name)
            rule = Rule(event.key, prompt.name, effective, prompt.path)
        if rule is None:
            return Tried(event, verdict, as_if_open=False)
        rule = _dry(rule)
        watched = Watched(self.claude)
        with (
            TemporaryDirectory(prefix="hls-try-") as folder,
            closing(self.open_store(f"sqlite:///{folder}/try.db")) as store,
        ):
            lease = _claim(store, subject, rule)
            tools = self._tools(store, watched, now, we)
            if event.thread is not None:  # else it is known only with the facts
                _learn(store.memory(lease, we.login), self.remembered(event, event.thread.number, we))
            end = _to_the_end(Job(lease, tools, now, event, we, rule, handler_for(event.name), {}))
            row = store.delivery(lease.guid)
            outcomes = tell(store, row).outcomes if row else ()
        return Tried(event, verdict, self.github.as_if_open, rule, tuple(watched.questions), outcomes, end)

    def _tools(self, store: Store, claude: Claude, now: Now, we: Account) -> Tools:
        return Tools(
            store=store,
            leases=NoRival(),
            github=self.github,
            claude=claude,
            health=Health(store.now),
            now=lambda: now,
            we=lambda _github: we,
            stopping=lambda: False,
            pause=self.pause,
            jitter=lambda: 0.0,
            clock=self.clock,
        )


def _to_the_end(job: Job) -> Ended | Overtaken | Wait | StepFailed:
    """What becomes of it. A turn (the pace of calls) is waited for, a used-up budget is not."""
    while True:
        try:
            ended = go_through(replace(job, steps=job.tools.store.steps(job.lease.guid)))
        except Wait as wait:
            if wait.holdup is not None:
                return wait
            job.tools.pause(max((wait.at - job.tools.store.now()).total_seconds(), 0.001))
        except (Overtaken, StepFailed) as exc:
            return exc
        else:
            job.tools.store.remember(job.lease, *ended.kept)  # for whoever tells of it
            return ended


def _effective(settings: Settings, repository: str) -> Effective:
    """What holds for a repository; what would hold if it were simply named, where no entry matches."""
    found = RepositoryTable(settings).find(repository)
    if found is not None:
        return found
    named = settings.model_copy(update={"repositories": (*settings.repositories, Repository(name=repository))})
    effective = RepositoryTable(named).find(repository)
    assert effective is not None  # an entry of the very name
    return effective


def _dry(rule: Rule) -> Rule:
    features = rule.effective.features.model_copy(update={"dry_run": True})
    return replace(rule, effective=replace(rule.effective, features=features))


def _claim(store: Store, subject: Subject, rule: Rule) -> Lease:
    head = WebhookHeaders(subject.event, DELIVERY, signature=b"", is_form=False, content_length=None)
    new = new_delivery(head, sip(subject.body), rule, subject.body, request_id="try", settle_s=0)
    store.accept([new], replay_window_h=0)
    lease = store.claim(worker="try", lease_s=LEASE_S, max_crashes=1)
    assert lease is not None  # the only delivery of a new store
    return lease


def _learn(memory: ThreadMemory, known: ThreadKnowledge) -> None:
    """What was remembered elsewhere is remembered here."""
    memory.intend_labels(name for name, state in known.labels.items() if state == "intended")
    memory.confirm_labels(name for name, state in known.labels.items() if state == "ours")
    memory.labels_gone(name for name, state in known.labels.items() if state == "gone")
    for family, comment in known.comments.items():
        memory.remember_comment(family, comment.comment_id, comment.body_digest)
