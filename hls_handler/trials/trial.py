"""Tries a prompt with a stored delivery: Claude is asked about its facts, and nothing is stored or
posted.

The handler runs as in the service. The replies to the prompts before the tried one are those that
are stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hls_handler.actions import Action, EnsureComment, EnsureLabels, RequestedLabel
from hls_handler.analysis import Reply
from hls_handler.engine.active_config import DeliveryConfig
from hls_handler.engine.asking import PROMPT_SECRET, Comments, find_review_budget
from hls_handler.engine.job import decode_reply_for_display
from hls_handler.engine.library import families
from hls_handler.engine.posting import LABELS_BEFORE, OUTCOME
from hls_handler.engine.recording_job import RecordingJob
from hls_handler.errors import (
    DependencyDown,
    HlsError,
    Permanent,
    PromptError,
    StepFailed,
    with_remedy,
)
from hls_handler.events import Event
from hls_handler.github.comment_body import marker, parse_sections
from hls_handler.github.labels import decide_labels
from hls_handler.handlers import handler_for
from hls_handler.handlers.asking import VERIFY_PROMPT, Asking
from hls_handler.handlers.changed_files import find_unshown
from hls_handler.handlers.handler import common_variables
from hls_handler.handlers.labels import AppliedLabel
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render
from hls_handler.question import RenderedPrompt
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.yaml_parser import format_yaml
from hls_handler.storage import Storage
from hls_handler.store.calls import ReviewBudget
from hls_handler.store.statistics import DeliveryRow
from hls_handler.trials.comparison import Comparison, LabelSets, Run, prompt_result, sum_calls
from hls_handler.trials.replay import (
    NotRepeatable,
    StoredFacts,
    find_kept,
    load_stored_facts,
    replay,
)
from hls_handler.trials.sender import Sender, UnusableAnswer
from hls_handler.untrusted.redaction import redact

NOT_ASKED = "not asked, because of the error above"
PULL_REQUEST = "pull_request"
MAX_OFFERED = 200
"""Most deliveries that are searched for suitable ones."""

_MARKS = re.compile(r"^<!-- hls:.*-->$\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Trial:
    """A prompt, and an event with its facts that it is tried with. Nothing is sent before its job
    runs.
    """

    source: StoredFacts
    library: Library
    name: str  # of the prompt
    key: bytes  # secret of the delimiters of untrusted text
    kept: Mapping[int, Reply] = field(default_factory=dict)
    """If the prompt follows others, the replies to them, by the index of their checkpoints."""
    limit: ReviewBudget | None = None
    # the result of `render_requests`, if the trial was planned
    requests: tuple[RenderedPrompt, ...] = ()

    def render_requests(self) -> tuple[RenderedPrompt, ...]:
        """Return the requests of the prompt, at least one: one for each part of the facts.

        Raises `PromptError`, or `NotRepeatable` if the kept replies do not lead to the prompt.
        """
        found: list[RenderedPrompt] = []
        reason = ""

        def collect(rendered: RenderedPrompt) -> Reply:
            if rendered.prompt.name == self.name:
                found.append(rendered)
            raise Permanent("not sent")

        with suppress(Permanent):
            reason = self.source.handler.run(self.make_job(collect)).reason
        if found:
            return tuple(found)
        if reason and not self.kept:
            raise NotRepeatable(f"it was not a question for Claude: {reason}")
        raise NotRepeatable(f"its replies do not lead to {self.name}")

    @property
    def prompt_id(self) -> str:
        return self.library.prompts[self.name].id

    @property
    def followers(self) -> tuple[str, ...]:
        """The names of the prompts that may be asked, too."""
        names = self.library.followers(self.name)
        if self.kept or self.source.event.name != PULL_REQUEST:
            return names
        if VERIFY_PROMPT not in self.library.prompts:
            return names
        return (*names, VERIFY_PROMPT)

    def make_job(self, send: Callable[[RenderedPrompt], Reply]) -> RecordingJob:
        """Return the job with which a handler asks the prompt and those that follow. `send` sends
        each request.
        """
        source = self.source
        library = self.library
        kept = self.kept
        first = self.name
        if kept:
            first = next(iter(kept.values())).prompt_name

        def ask_one(asked: str, variables: Mapping[str, object], index: int) -> Reply:
            if index in kept:
                return kept[index]
            if kept and asked == first:
                raise Permanent("no reply is stored")
            rendered = render(library, asked, variables, key=self.key)
            return replace(send(rendered), unshown=find_unshown(variables, rendered.task))

        common = common_variables(source.event, first, source.effective)
        keeps_review = source.event.name == PULL_REQUEST
        asking = Asking(library, first, common, ask_one, keeps_review=keeps_review)
        comments = Comments(library, common, self.key, source.handler.has_sections)
        return source.make_job(asking, comments, None)


Plan = Trial | Comparison
"""A trial, or the comparison with the problem that the prompt cannot be rendered for a delivery."""


def list_deliveries(
    store: Storage, library: Library, name: str, *, body_days: int
) -> list[DeliveryRow]:
    """Return finished deliveries of the prompt's events about which Claude was asked, newest first,
    corrected before.

    Only deliveries of the last `body_days` are listed: the events of older ones are deleted.
    """
    keys = library.events(name, families())
    since = store.now() - timedelta(days=body_days)
    asked = store.deliveries.with_reply(since=since, events=_event_names(keys), most=MAX_OFFERED)
    newest = [row for row in asked if row.state == "done" and {row.event, row.event_key} & {*keys}]
    corrected = [one.row for one in store.corrections.newest_of_prompt(name, most=MAX_OFFERED)]
    return list({row.guid: row for row in (*corrected, *newest)}.values())


def require_event(
    library: Library, prompt: str, event: Event, effective: EffectiveSettings
) -> None:
    """Raise `NotRepeatable` if neither the prompt nor the settings name the event, which may lack
    variables of it.
    """
    chosen = effective.find_prompt(event.key)
    is_named = event.name in _event_names(library.events(prompt, families()))
    if not is_named and (chosen is None or chosen.prompt != prompt):
        raise NotRepeatable(f"{prompt} is not for {event.key}")


def _event_names(keys: Iterable[str]) -> set[str]:
    return {key.partition(".")[0] for key in keys}


def plan_trial(store: Storage, config: DeliveryConfig, row: DeliveryRow, prompt: str) -> Plan:
    """Return a trial with a delivery, whose requests are rendered. Raises `NotRepeatable`."""
    source = load_stored_facts(store, row, config.table)
    library = config.library
    event = source.event
    # a comment can be an answer for another handler
    if row.handler not in (None, handler_for(row.event).name):
        raise NotRepeatable(f"it was processed by the handler {row.handler}")
    require_event(library, prompt, event, source.effective)
    key = store.database.secret(PROMPT_SECRET)
    kept = find_kept(source, library, prompt)
    limit = find_review_budget(event, config.settings, source.effective)
    trial = Trial(source, library, prompt, key, kept, limit)
    try:
        return replace(trial, requests=trial.render_requests())
    except PromptError as exc:
        return replace(_begin(row), problem="; ".join(exc.problems))


def plan_trials(
    store: Storage, config: DeliveryConfig, prompt: str, rows: Iterable[DeliveryRow]
) -> Iterator[Plan]:
    """Yield the plan for each suitable delivery."""
    for row in rows:
        with suppress(NotRepeatable):
            yield plan_trial(store, config, row, prompt)


def run_trials(store: Storage, planned: Iterable[Plan], sender: Sender) -> tuple[Comparison, ...]:
    """Return a comparison for each plan. After an error that all calls would get, no more are
    asked.
    """
    results: list[Comparison] = []
    is_stopped = False
    for trial in planned:
        if isinstance(trial, Comparison):
            results.append(trial)
            continue
        row = trial.source.row
        assert row is not None  # `plan_trial` has a delivery
        if is_stopped:
            results.append(replace(_begin(row), problem=NOT_ASKED))
            continue
        try:
            results.append(_compare(store, row, trial, sender))
        except HlsError as exc:
            failed = replace(_begin(row), problem=redact(with_remedy(exc)))
            if isinstance(exc, UnusableAnswer):
                failed = replace(failed, unusable=exc.reply.text)
            results.append(failed)
            is_stopped = isinstance(exc, DependencyDown) or not isinstance(
                exc, StepFailed | PromptError
            )
    return tuple(results)


def _begin(row: DeliveryRow) -> Comparison:
    return Comparison(row.guid, row.event_key, row.conversation, row.title)


def _compare(store: Storage, row: DeliveryRow, trial: Trial, sender: Sender) -> Comparison:
    """Ask Claude, and return both results. Raises `PromptError`, a `StepFailed`, or what `sender`
    raises.
    """
    source = trial.source
    posted = _load_posted_run(store, row, source)
    sender.begin(trial.limit)
    job = trial.make_job(sender.send)
    answered = job.run(source.handler)
    asked = [one.answer for one in sender.questions if isinstance(one.answer, Reply)]
    unverified = job.unverified and f"findings not verified: {job.unverified}"
    end = ["not posted", job.unanswered, unverified, answered.left_out]
    has_posted = posted is not None and bool(posted.run.comment)
    new = Run(
        prompt_result(job.analysis, job.actions),
        end="; ".join(filter(None, end)),
        replies=_format_replies([*trial.kept.values(), *asked]),
        comment=_find_planned(job.actions, has_posted=has_posted),
        **sum_calls(sender.usages),
    )
    if posted is None:
        return replace(_begin(row), new=new)
    before = replace(posted.run.result, labels=_decide(posted.actions, source))
    after = replace(new.result, labels=_decide(job.actions, source))
    labels = LabelSets(before, after, _apply(store.corrections.of_conversation(row), before.labels))
    return replace(_begin(row), posted=posted.run, new=new, labels=labels)


def _replay(source: StoredFacts, posted: str | None) -> RecordingJob | None:
    """Run a delivery again with its replies, as the prompts were then; None if there are none."""
    with suppress(NotRepeatable, StepFailed, PromptError):
        return replay(source, posted=posted)
    return None


@dataclass(frozen=True, slots=True)
class _PostedRun:
    """The result of the prompts that were asked for a delivery, and its actions."""

    run: Run
    actions: tuple[Action, ...]


def _load_posted_run(store: Storage, row: DeliveryRow, source: StoredFacts) -> _PostedRun | None:
    """Return None if the replies are not stored."""
    outcomes = [
        OUTCOME.decode(step)
        for (name, _), step in sorted(source.steps.items())
        if name == OUTCOME.name
    ]
    comments = [
        outcome.body or ""
        for outcome in outcomes
        if outcome is not None and outcome.action == "comment"
    ]
    posted = next(filter(None, reversed(comments)), None)
    shown = posted
    if comments and not posted:
        shown = "a comment"
    job = _replay(source, shown)
    if job is None:
        return None
    actions = job.actions
    for action in actions:
        # others may share the comment
        if isinstance(action, EnsureComment) and action.section is not None:
            mark = marker(action.family)
            if posted is not None and posted.rstrip().endswith(mark):  # else it was not posted
                own = parse_sections(posted, marker=mark).get(action.section)
                posted = own.text if own else ""
    replies = source.replies.valid
    asked = [replies[index] for index in sorted(replies)]
    run = Run(
        prompt_result(job.analysis, actions),
        end=": ".join(filter(None, [row.state, row.reason])),
        replies=_format_replies(filter(None, map(decode_reply_for_display, asked))),
        comment=_MARKS.sub("", posted or "").strip(),
        **sum_calls(store.calls.calls_of(row.guid)),
    )
    return _PostedRun(run, actions)


def _format_replies(replies: Iterable[Reply]) -> str:
    return "\n".join(
        f"# {one.prompt_name}\n{format_yaml(one.fields.model_dump(mode='json'))}" for one in replies
    )


def _find_planned(actions: Iterable[Action], *, has_posted: bool) -> str:
    """Return the comment that the actions would create, or write over the posted one."""
    for action in actions:
        if isinstance(action, EnsureComment) and (action.create or has_posted):
            return _MARKS.sub("", action.body).strip()
    return ""


def _decide(actions: Iterable[Action], source: StoredFacts) -> tuple[RequestedLabel, ...]:
    """Return the labels of replies that HLS would set or keep. All requested labels count as labels
    of the repository.

    Labels that people set or removed before the event are respected.
    """
    conversation = source.event.conversation
    before = LABELS_BEFORE.decode(source.steps.get((LABELS_BEFORE.name, 0)))
    if not source.effective.features.auto_labeling or (conversation is None and before is None):
        return ()  # without an issue or a pull request, HLS sets no labels
    present = frozenset[str]()
    if conversation is not None:
        present = frozenset(label.name for label in conversation.labels)
    found: set[RequestedLabel] = set()
    for action in actions:
        if isinstance(action, EnsureLabels):
            names = frozenset(label.name for label in action.requested)
            labels = source.effective.labels
            decided = decide_labels(
                action, labels, present=present, stored=before or {}, in_repository=names
            )
            withheld = {name for name, _ in decided.withheld}
            found |= {
                one
                for one in action.requested
                if one.name not in withheld and one.group in action.prompt_ids
            }
    return tuple(found)


def _apply(
    corrections: Iterable[AppliedLabel], labels: Iterable[RequestedLabel]
) -> frozenset[RequestedLabel]:
    corrected_to = {
        correction.name.casefold(): correction.corrected_to for correction in corrections
    }
    left = ((corrected_to.get(label.name.casefold(), label.name), label.group) for label in labels)
    return frozenset(RequestedLabel(name, group) for name, group in left if name)
