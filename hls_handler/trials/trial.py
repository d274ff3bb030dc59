"""Tries a prompt with a stored delivery: Claude is asked about its facts, and nothing is stored or posted.

The handler runs as in the service. The replies to the prompts before the tried one are those that are stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from hls_handler.actions import Action, EnsureLabels, RequestedLabel
from hls_handler.analysis import Analysis, Finding, PullRequestAnalysis, Usage, ValidReply
from hls_handler.engine.active_config import DeliveryConfig
from hls_handler.engine.asking import PROMPT_SECRET, find_review_budget
from hls_handler.engine.job import ASK, decode_reply_for_display
from hls_handler.engine.posting import LABELS_BEFORE, OUTCOME
from hls_handler.engine.shadow import SHADOW, prompt_result
from hls_handler.engine.trial_job import TrialJob
from hls_handler.errors import DependencyDown, HlsError, Permanent, PromptError, StepFailed, with_remedy
from hls_handler.events import Event
from hls_handler.handlers import handler_for
from hls_handler.handlers.asking import VERIFICATION, VERIFY_PROMPT, Answers, Asking
from hls_handler.handlers.changed_files import find_unshown
from hls_handler.handlers.labels import AppliedLabel, decide_labels
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import RenderedPrompt, render
from hls_handler.routing import Rule
from hls_handler.storage import Storage
from hls_handler.store.calls import CallRow, ReviewBudget
from hls_handler.store.statistics import DeliveryRow
from hls_handler.trials.comparison import Comparison, LabelSets, Report, Run, sum_calls
from hls_handler.trials.replay import NotRepeatable, StoredFacts, find_kept, load_stored_facts, replay
from hls_handler.trials.sender import Sender, UnusableAnswer
from hls_handler.trials.sources import find_events, load_sample
from hls_handler.untrusted.redaction import redact

NOT_ASKED = "not asked, because of the error above"
PULL_REQUEST = "pull_request"


@dataclass(frozen=True, slots=True)
class Trial:
    """A prompt, and an event with its facts that it is tried with. Nothing is sent before its job runs."""

    source: StoredFacts
    library: Library
    name: str  # of the prompt
    key: bytes  # secret of the delimiters of untrusted text
    kept: Mapping[int, ValidReply] = field(default_factory=dict)
    """If the prompt follows others, the replies to them, by the index of their checkpoints."""
    limit: ReviewBudget | None = None
    requests: tuple[RenderedPrompt, ...] = ()  # the result of `render_requests`, if the trial was planned

    def render_requests(self) -> tuple[RenderedPrompt, ...]:
        """Return the requests of the prompt, at least one: one for each part of the facts.

        Raises `PromptError`, or `NotRepeatable` if the kept replies do not lead to the prompt.
        """
        found: list[RenderedPrompt] = []

        def collect(rendered: RenderedPrompt) -> ValidReply:
            if rendered.prompt.name == self.name:
                found.append(rendered)
            raise Permanent("not sent")

        with suppress(Permanent):
            self.make_job(collect).consult(self.source.facts)
        if not found:
            raise NotRepeatable(f"its replies do not lead to {self.name}")
        return tuple(found)

    @property
    def prompt_id(self) -> str:
        return self.library.prompts[self.name].id

    @property
    def followers(self) -> tuple[str, ...]:
        """The names of the prompts that may be asked, too."""
        names = self.library.followers(self.name)
        is_verified = not self.kept and self.source.event.name == PULL_REQUEST and VERIFY_PROMPT in self.library.prompts
        return (*names, VERIFY_PROMPT) if is_verified else names

    @property
    def begun(self) -> Comparison:
        """A comparison without results."""
        row, event = self.source.row, self.source.event
        if row is not None:
            return Comparison(row.guid, row.event_key, row.conversation, row.title)
        return Comparison(None, event.key, "", event.conversation.title if event.conversation else None)

    def make_job(self, send: Callable[[RenderedPrompt], ValidReply]) -> TrialJob:
        """Return the job with which a handler asks the prompt and those that follow. `send` sends each request."""
        source, library, kept = self.source, self.library, self.kept
        first = next(iter(kept.values())).prompt_name if kept else self.name

        def ask_one(asked: str, variables: Mapping[str, object], index: int) -> ValidReply:
            if index in kept:
                return kept[index]
            if kept and asked == first:
                raise Permanent("no reply is stored")
            rendered = render(library, asked, variables, key=self.key)
            return replace(send(rendered), unshown=find_unshown(variables, rendered.task))

        keeps_review = source.event.name == PULL_REQUEST
        asking = Asking(library, first, source.variables(first), ask_one, keeps_review=keeps_review)
        rule = Rule(source.event.key, first, source.effective, library.prompts[first].path)
        consult = partial(source.handler.consult, asking)
        return TrialJob(source.event, rule, source.handler, source.facts, library, self.key, consult)


def plan_trial(store: Storage, config: DeliveryConfig, source: StoredFacts, prompt: str | None = None) -> Trial:
    """Return a trial of `prompt`; by default, of the prompt that was used. Its requests are rendered.

    Raises `NotRepeatable` or `PromptError`.
    """
    library, event = config.library, source.event
    skipped = source.handler.skip_reason(source.facts)
    if skipped is not None:
        raise NotRepeatable(f"it was not a question for Claude: {skipped.reason}")
    fitting = list_prompts(library, event)
    if prompt is None:
        answered = find_answers(source)
        used = answered.names[0] if answered else None
        preferred = library.on(event.key) or library.on(event.name)
        prompt = used if used in fitting else next(iter(preferred), None)
    if prompt is None or prompt not in library.prompts or event.name not in find_events(library, prompt):
        known = f"; there is {', '.join(fitting)}" if fitting else ""
        raise NotRepeatable(f"the library has no prompt {prompt} for {event.key}{known}")
    key, kept = store.database.secret(PROMPT_SECRET), find_kept(source, library, prompt)
    trial = Trial(source, library, prompt, key, kept, find_review_budget(event, config.settings, source.effective))
    return replace(trial, requests=trial.render_requests())


def plan_trials(
    store: Storage, config: DeliveryConfig, prompt: str, rows: Iterable[DeliveryRow], *, guid: str = ""
) -> Iterator[Trial | Comparison]:
    """Yield a trial with the delivery `guid`, then with the suitable ones of `rows`.

    For a delivery that the prompt cannot be rendered with, yields a comparison with the problem. Raises `NotRepeatable`
    if `guid` is not suitable.
    """
    if guid:
        given = store.deliveries.find(guid)
        if given is None:
            raise NotRepeatable(f"there is no delivery {guid}, or it was deleted")
        rows = (given, *(row for row in rows if row.guid != guid))
    for row in rows:
        try:
            if row.handler not in (None, handler_for(row.event).name):  # a comment can be an answer for another handler
                raise NotRepeatable(f"it was processed by the handler {row.handler}")
            yield plan_trial(store, config, load_stored_facts(store, row, config.table), prompt)
        except NotRepeatable as exc:
            if row.guid == guid:
                raise NotRepeatable(f"{guid}: {exc}") from None
        except PromptError as exc:
            problem = "; ".join(exc.problems)
            yield Comparison(row.guid, row.event_key, row.conversation, row.title, problem=problem)


def choose_trials(
    store: Storage, config: DeliveryConfig, prompt: str, rows: Iterable[DeliveryRow], *, guid: str, most: int
) -> list[Trial | Comparison]:
    """Return the first `most` of `plan_trials`; without any, a trial with the first recorded event."""
    found = list(islice(plan_trials(store, config, prompt, rows, guid=guid), most))
    return found or [plan_trial(store, config, load_sample(config.library, prompt, config.settings), prompt)]


def run_trials(store: Storage, trials: Iterable[Trial], sender: Sender) -> tuple[Comparison, ...]:
    """Return a comparison for each trial. After an error that all calls would get, no more are asked."""
    results: list[Comparison] = []
    is_stopped = False
    for trial in trials:
        if is_stopped:
            results.append(replace(trial.begun, problem=NOT_ASKED))
            continue
        try:
            results.append(_compare(store, trial, sender))
        except HlsError as exc:
            text = exc.reply.text if isinstance(exc, UnusableAnswer) else ""
            results.append(replace(trial.begun, problem=redact(with_remedy(exc)), unusable=text))
            is_stopped = isinstance(exc, DependencyDown) or not isinstance(exc, StepFailed | PromptError)
    return tuple(results)


def _compare(store: Storage, trial: Trial, sender: Sender) -> Comparison:
    """Ask Claude, and return both results. Raises `PromptError`, a `StepFailed`, or what `sender` raises."""
    source, old, corrections = trial.source, None, list[AppliedLabel]()
    if source.row is not None:
        old, corrections = _load_old_run(store, source.row, trial), store.corrections.of_conversation(source.row)
    sender.begin(trial.limit)
    job = trial.make_job(sender.send)
    answered = job.run()
    replies = answered.answers
    if trial.name == VERIFY_PROMPT:  # its replies are not among the answers
        replies = tuple(one.answer for one in sender.questions if isinstance(one.answer, ValidReply))
    unverified = answered.unverified and f"findings not verified: {answered.unverified}"
    end = "; ".join(filter(None, ["not posted", answered.unanswered, unverified, answered.left_out]))
    new = _make_run(answered, replies, job.analysis, job.actions, sender.usages, end)
    decided = [_decide(run.actions, source) for run in (old, new) if run is not None]
    labels = None
    if old is not None and old.replies and any(decided):
        labels = LabelSets(decided[0], decided[1], _apply(corrections, decided[0]))
    requested = tuple(sorted(one.name for one in decided[-1]))
    return replace(trial.begun, old=old, new=new, labels=labels, requested=requested)


def compare_stored(store: Storage, prompt: str, other: str | None, *, since: datetime) -> Report:
    """Compare the stored results of the shadow prompt `prompt` with the posted results for the same deliveries.

    Only deliveries received since `since` (aware UTC) count, and with `other` only those for which it was posted. Both
    are names or ids of prompts.
    """
    found: list[Comparison] = []
    excluded: Counter[str] = Counter()
    for row in store.deliveries.with_checkpoint(SHADOW.name, since=since):
        shadowed = SHADOW.decode(store.checkpoints.load(row.guid).get((SHADOW.name, 0)))
        if shadowed is None or not (other is None or is_named(other, shadowed.posted.prompt_id)):
            continue
        if shadowed.ran is None:
            excluded[shadowed.state] += is_named(prompt.partition("@")[0], shadowed.prompt)
        elif is_named(prompt, shadowed.ran.prompt_id):
            calls = store.calls.calls_of(row.guid)
            old = Run(shadowed.posted, **sum_calls([call for call in calls if not call.of_shadow]))
            new = Run(shadowed.ran, **sum_calls([call for call in calls if call.of_shadow]))
            found.append(Comparison(row.guid, row.event_key, row.conversation, row.title, old, new))
    return Report(tuple(found), +excluded)


def is_named(given: str, prompt_id: str) -> bool:
    """Return True if `given` is the prompt's id ("issues/strict@3f9c2a") or its name ("issues/strict")."""
    return given in (prompt_id, prompt_id.partition("@")[0])


def list_prompts(library: Library, event: Event) -> tuple[str, ...]:
    return tuple(name for name, prompt in library.prompts.items() if event.key in prompt.on or event.name in prompt.on)


def find_answers(source: StoredFacts) -> Answers | None:
    """Return the stored replies of a delivery, as the prompts were then; None if there are none."""
    with suppress(NotRepeatable, StepFailed, PromptError):
        return replay(source)
    return None


def _load_old_run(store: Storage, row: DeliveryRow, trial: Trial) -> Run:
    """Return the result of the prompts that were asked for a delivery, with the replies to compare."""
    source = trial.source
    answered = find_answers(source) or Answers(source.facts, (), (), {})
    outcomes = [OUTCOME.decode(step) for (name, _), step in sorted(source.steps.items()) if name == OUTCOME.name]
    comments = [outcome.body or "" for outcome in outcomes if outcome is not None and outcome.action == "comment"]
    posted = next(filter(None, reversed(comments)), None)
    calls = [call for call in store.calls.calls_of(row.guid) if not call.of_shadow]
    end = f"{row.state}: {row.reason}" if row.reason else row.state
    analysis = Analysis(answered.answers, comment=posted or ("a comment" if comments else None))
    actions = source.handler.plan(source.event, answered.facts, analysis) if answered.answers else ()
    replies = answered.answers
    if trial.name == VERIFY_PROMPT:
        verdicts = decode_reply_for_display(source.steps.get((ASK, VERIFICATION)))
        replies = () if verdicts is None else (verdicts,)
    return replace(_make_run(answered, replies, analysis, actions, calls, end), comment=posted)


def _make_run(
    answered: Answers,
    replies: Sequence[ValidReply],
    analysis: Analysis,
    actions: tuple[Action, ...],
    spent: Sequence[CallRow | Usage],
    end: str,
) -> Run:
    """Return the result of a run. `replies` are those that are shown."""
    return Run(
        prompt_result(analysis, actions),
        end=end,
        replies=tuple((reply.prompt_id, reply.reply.model_dump(mode="json")) for reply in replies),
        findings=_find_raised(answered.facts, answered.answers),
        actions=actions,
        **sum_calls(spent),
    )


def _find_raised(facts: Any, answers: Iterable[ValidReply]) -> tuple[Finding, ...] | None:
    reviews = [answer.reply for answer in answers if isinstance(answer.reply, PullRequestAnalysis)]
    if not reviews or not isinstance(facts, PullRequestFacts) or not facts.is_review:
        return None
    result = facts.with_reply(reviews[-1]).found
    return (*(located.finding for _, located in result.raised), *result.unlocated)


def _decide(actions: Iterable[Action], source: StoredFacts) -> frozenset[RequestedLabel]:
    """Return the labels of replies that HLS would set or keep. All requested labels count as labels of the repository.

    Labels that people set or removed before the event are respected.
    """
    conversation = source.event.conversation
    before = LABELS_BEFORE.decode(source.steps.get((LABELS_BEFORE.name, 0)))
    if not source.effective.features.auto_labeling or (conversation is None and before is None):
        return frozenset()  # without an issue or a pull request, HLS sets no labels
    present = frozenset(label.name for label in conversation.labels) if conversation is not None else frozenset[str]()
    found: set[RequestedLabel] = set()
    for action in actions:
        if isinstance(action, EnsureLabels):
            names, labels = frozenset(label.name for label in action.requested), source.effective.labels
            decided = decide_labels(action, labels, present=present, stored=before or {}, in_repository=names)
            withheld = {name for name, _ in decided.withheld}
            found |= {one for one in action.requested if one.name not in withheld and one.group in action.prompt_ids}
    return frozenset(found)


def _apply(corrections: Iterable[AppliedLabel], labels: Iterable[RequestedLabel]) -> frozenset[RequestedLabel]:
    corrected_to = {correction.name.casefold(): correction.corrected_to for correction in corrections}
    left = ((corrected_to.get(label.name.casefold(), label.name), label.group) for label in labels)
    return frozenset(RequestedLabel(name, group) for name, group in left if name)
