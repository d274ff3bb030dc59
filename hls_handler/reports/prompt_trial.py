"""The trial of an unsaved prompt: new replies for stored deliveries, compared with the old ones and people's labels.

Nothing is stored or posted. Prompts that precede or follow are not asked again: their stored replies stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

from hls_handler.actions import Action, EnsureLabels, RequestedLabel
from hls_handler.analysis import Analysis, UnusableReply, ValidReply
from hls_handler.deliveries import Checkpoint
from hls_handler.engine.active_config import Claude
from hls_handler.engine.job import ASK, decode_reply, decode_reply_for_display, encode_reply, facts_codec
from hls_handler.engine.library import GUID
from hls_handler.engine.posting import LABELS_BEFORE
from hls_handler.errors import DependencyDown, HlsError, StepFailed, with_remedy
from hls_handler.events import Event, parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.asking import VERIFICATION, join_replies
from hls_handler.handlers.labels import AppliedLabel, decide_labels
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.queue.changes import field_of
from hls_handler.reports.dry_run import DryRun, Run, find_raised_findings, sum_calls, to_json
from hls_handler.reports.prompt_input import PromptInput
from hls_handler.settings.effective import EffectiveSettings, RepositoryTable
from hls_handler.storage import Storage
from hls_handler.trials.comparison import decode_answers, is_for
from hls_handler.trials.replay import NotRepeatable, StoredFacts, load_stored_facts
from hls_handler.untrusted.redaction import redact

MAX_CHANCE = 0.05


@dataclass(frozen=True, slots=True)
class TrialQuestion:
    """An unsaved prompt that was rendered with one delivery."""

    given: PromptInput
    requests: tuple[RenderedPrompt, ...]  # one for each part of the facts


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The labels that the replies to a delivery lead to, as settings, people and existing labels allow."""

    old: frozenset[RequestedLabel]
    new: frozenset[RequestedLabel]
    left: frozenset[RequestedLabel]  # the old ones after people's corrections

    def is_as_left(self, labels: Collection[RequestedLabel], field: str | None = None) -> bool:
        """Return True if `labels` are those that people left; with `field`, only labels of this field count."""
        return _names(labels, field) == _names(self.left, field)


def _names(labels: Collection[RequestedLabel], field: str | None) -> set[str]:
    return {label.name.casefold() for label in labels if field is None or field_of(label.group) == field}


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The result for one delivery: a comparison, or a problem."""

    title: str  # "issues.opened of octo/widgets#7"
    guid: str | None  # None for a recorded event
    subject: str | None = None  # title of the issue or pull request
    problem: str = ""  # why there is no new reply
    unusable: str = ""  # what Claude wrote, if it cannot be used
    no_old: str = ""  # why there is no old reply
    runs: DryRun | None = None  # the replies to the prompt, old and new
    labels: LabelSets | None = None  # None: neither reply can lead to labels, or there is no old reply
    requested: tuple[str, ...] = ()  # labels that the new reply leads to
    is_corrected: bool = False  # whether people changed an old label


def run_trial(
    questions: Sequence[TrialQuestion],
    claude: Claude,
    compare: Callable[[PromptInput, Sequence[ValidReply]], TrialResult],
) -> tuple[TrialResult, ...]:
    """Ask Claude all questions, and return a result for each. After an error of all calls, no more are asked."""
    results: list[TrialResult] = []
    stopped = ""
    for question in questions:
        given = question.given
        if stopped:
            results.append(TrialResult(given.title, given.guid, problem="not asked, because of the error above"))
            continue
        try:
            answer = _ask_all(question.requests, claude)
        except HlsError as exc:
            problem = redact(with_remedy(exc))
            results.append(TrialResult(given.title, given.guid, problem=problem))
            if isinstance(exc, DependencyDown) or not isinstance(exc, StepFailed):
                stopped = problem
            continue
        if isinstance(answer, UnusableReply):
            problem, text = redact(answer.problem), redact(answer.text)
            results.append(TrialResult(given.title, given.guid, problem=problem, unusable=text))
        else:
            results.append(compare(given, answer))
    return tuple(results)


def _ask_all(requests: Sequence[RenderedPrompt], claude: Claude) -> list[ValidReply] | UnusableReply:
    replies: list[ValidReply] = []
    for index, rendered in enumerate(requests):
        answer = claude.ask(rendered)
        if isinstance(answer, UnusableReply):
            return answer
        prompt = rendered.prompt
        redacted = decode_reply(encode_reply(answer, index=index), reply_type=prompt.reply, model=prompt.reply_model)
        assert redacted is not None
        replies.append(redacted)
    return replies


def compare_with_stored(
    store: Storage,
    library: Library,
    table: RepositoryTable,
    name: str,
    given: PromptInput,
    replies: Sequence[ValidReply],
) -> TrialResult:
    """Compare new replies to the prompt `name` with the stored ones, and their labels with those that people left."""
    handler = handler_for(given.event)
    event, facts = parse_event(given.event, given.guid or GUID, given.body.encode()), _decode_facts(given)
    new = join_replies(replies)
    subject = None if event.conversation is None else event.conversation.title
    source, no_old = _load_source(store, table, given)
    answers = [] if source is None else decode_answers(source.steps, library)
    position = _find_position(answers, name, is_first=is_for(library.prompts[name], event))
    old = None if position is None else answers[position]
    if handler.verification == name and source is not None:
        old = decode_reply_for_display(source.steps.get((ASK, VERIFICATION)))
    runs = DryRun(_make_run(facts, () if old is None else (old,)), _make_run(facts, (new,)), None)
    labels: LabelSets | None = None
    corrected = False
    changed = (new,) if position is None else (*answers[:position], new, *answers[position + 1 :])
    plans = [handler.plan(event, facts, Analysis(tuple(one), comment=None)) for one in (answers, changed) if one]
    steps: Mapping[tuple[str, int], Checkpoint] = {} if source is None else source.steps
    effective = None if source is None else source.effective
    decided = [_decide(actions, event, effective, steps) for actions in plans]
    if position is not None and source is not None and any(decided):
        corrections = store.corrections.of_conversation(source.row)
        left = _apply(corrections, decided[0])
        labels, corrected = LabelSets(decided[0], decided[1], left), left != decided[0]
    return TrialResult(
        given.title,
        given.guid,
        subject,
        no_old=no_old or ("" if old is not None else "no reply to this prompt is stored for it"),
        runs=runs,
        labels=labels,
        requested=tuple(sorted(label.name for label in decided[-1])),
        is_corrected=corrected,
    )


def _decode_facts(given: PromptInput) -> object:
    return facts_codec(handler_for(given.event)).decode(given.facts)


def _load_source(store: Storage, table: RepositoryTable, given: PromptInput) -> tuple[StoredFacts | None, str]:
    row = None if given.guid is None else store.deliveries.find(given.guid)
    if row is None:
        return None, "it is a recorded event" if given.guid is None else "the delivery was deleted"
    try:
        return load_stored_facts(store, row, table), ""
    except NotRepeatable as exc:
        return None, str(exc)


def _find_position(answers: Sequence[ValidReply], name: str, *, is_first: bool) -> int | None:
    """Return the index of the old reply that the new one replaces: that of the same prompt, else the first prompt's."""
    for position, answer in enumerate(answers):
        if answer.prompt_id.partition("@")[0] == name:
            return position
    return 0 if answers and is_first else None


def _make_run(facts: object, answers: Sequence[ValidReply]) -> Run:
    return Run(
        end="",
        replies=to_json(answers),
        labels=(),
        comment=None,
        findings=find_raised_findings(facts, answers),
        **sum_calls([answer.usage for answer in answers]),
    )


def _decide(
    actions: Iterable[Action],
    event: Event,
    effective: EffectiveSettings | None,
    steps: Mapping[tuple[str, int], Checkpoint],
) -> frozenset[RequestedLabel]:
    """Return the labels of replies that HLS would set or keep. All requested labels count as labels of the repository.

    Labels that people set or removed before the event are respected. Without `effective`, all requested ones count.
    """
    before = LABELS_BEFORE.decode(steps.get((LABELS_BEFORE.name, 0)))
    if effective is not None and not effective.features.auto_labeling:
        return frozenset()
    if event.conversation is None and before is None:
        return frozenset()  # it is about no issue or pull request, so HLS sets no labels
    present = frozenset() if event.conversation is None else frozenset(one.name for one in event.conversation.labels)
    found: set[RequestedLabel] = set()
    for action in actions:
        if not isinstance(action, EnsureLabels):
            continue
        withheld: set[str] = set()
        if effective is not None:
            names = frozenset(label.name for label in action.requested)
            decided = decide_labels(action, effective.labels, present=present, stored=before or {}, in_repository=names)
            withheld = {name for name, _ in decided.withheld}
        found |= {one for one in action.requested if one.name not in withheld and one.group in action.prompt_ids}
    return frozenset(found)


def _apply(corrections: Iterable[AppliedLabel], labels: Iterable[RequestedLabel]) -> frozenset[RequestedLabel]:
    corrected_to = {correction.name.casefold(): correction.corrected_to for correction in corrections}
    left = ((corrected_to.get(label.name.casefold(), label.name), label.group) for label in labels)
    return frozenset(RequestedLabel(name, group) for name, group in left if name)


@dataclass(frozen=True, slots=True)
class LabelCount:
    """In how many deliveries a label is set."""

    name: str
    old: int
    new: int
    left: int  # after people's corrections


@dataclass(frozen=True, slots=True)
class FieldCount:
    """In how many deliveries the labels of a field are as people left them."""

    field: str  # "priority"; "" for all fields together
    old: int
    new: int
    fixed: int  # as people left them only with the new wording
    broken: int  # as people left them only with the old wording


@dataclass(frozen=True, slots=True)
class TrialSummary:
    compared: int  # deliveries whose labels were compared
    corrected: int  # of these, with corrections by people
    fields: tuple[FieldCount, ...]  # the first one is for all fields together
    labels: tuple[LabelCount, ...]

    @property
    def verdict(self) -> str:
        total = self.fields[0]
        return describe_change(total.fixed, total.broken, self.compared)


def describe_change(fixed: int, broken: int, compared: int) -> str:
    """Return "10 fixed, 4 broken of 16: too few to tell".

    Decides by the sign test: with wordings of the same quality, a changed delivery is fixed or broken by chance, and a
    difference as large as this one has a probability of at most 5% (two-sided).
    """
    changed = fixed + broken
    by_chance = 2 * sum(comb(changed, one) for one in range(min(fixed, broken) + 1)) / 2**changed
    if not changed:
        verdict = "no difference"
    elif by_chance > MAX_CHANCE:
        verdict = "too few to tell"
    else:
        verdict = "the new wording is better" if fixed > broken else "the new wording is worse"
    return f"{fixed} fixed, {broken} broken of {compared}: {verdict}"


def summarize_labels(results: Iterable[TrialResult]) -> TrialSummary | None:
    """Count over all results with labels; None if there are none."""
    found = [(one.labels, one.is_corrected) for one in results if one.labels is not None]
    sets = [labels for labels, _ in found]
    every = [label for one in sets for labels in (one.old, one.new, one.left) for label in labels]
    if not sets:
        return None
    fields = [None, *sorted({field_of(label.group) for label in every})]
    return TrialSummary(
        compared=len(sets),
        corrected=sum(is_corrected for _, is_corrected in found),
        fields=tuple(
            _count_field(field, [(one.is_as_left(one.old, field), one.is_as_left(one.new, field)) for one in sets])
            for field in fields
        ),
        labels=tuple(
            LabelCount(
                name, *(_count(name, labels) for labels in zip(*((o.old, o.new, o.left) for o in sets), strict=True))
            )
            for name in sorted({label.name for label in every})
        ),
    )


def _count_field(field: str | None, pairs: Sequence[tuple[bool, bool]]) -> FieldCount:
    """Count pairs of (as people left them before, as people left them now)."""
    olds, news = (sum(one) for one in zip(*pairs, strict=True))
    return FieldCount(field or "", olds, news, pairs.count((False, True)), pairs.count((True, False)))


def _count(name: str, sets: Iterable[Collection[RequestedLabel]]) -> int:
    return sum(any(label.name == name for label in labels) for labels in sets)
