"""Compares the results of two prompts for the same deliveries: stored results, or the results of a new run.

A new run uses the stored facts of finished deliveries, and neither stores nor posts its results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from hls_handler.actions import Action
from hls_handler.analysis import Analysis, Usage, ValidReply
from hls_handler.deliveries import Checkpoint
from hls_handler.engine.active_config import Claude
from hls_handler.engine.asking import render_chain
from hls_handler.engine.job import ASK, decode_reply, decode_reply_for_display, encode_reply
from hls_handler.engine.posting import OUTCOME
from hls_handler.engine.shadow import SHADOW, PromptResult, prompt_result
from hls_handler.errors import Permanent
from hls_handler.events import Event, event_key
from hls_handler.handlers.asking import FIRST_PART, VERIFICATION, Answers, Asking, join_replies
from hls_handler.handlers.changed_files import find_unshown
from hls_handler.handlers.handler import template_variables
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.prompting.render import RenderedPrompt, render
from hls_handler.routing import Rule
from hls_handler.settings.effective import RepositoryTable
from hls_handler.storage import Storage
from hls_handler.store.calls import CallRow
from hls_handler.store.statistics import DeliveryRow
from hls_handler.trials.replay import NotRepeatable, StoredFacts, load_stored_facts


@dataclass(frozen=True, slots=True)
class Side:
    result: PromptResult
    tokens: int  # input (including cached) and output
    cost_usd: float | None  # None if no price is known


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A label group for which two prompts requested different labels; () stands for no label."""

    group: str  # "priority"
    one: tuple[str, ...]
    other: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals and means of one prompt's results, over at least one delivery."""

    ids: tuple[str, ...]  # of the prompts, sorted: ("issues/strict@3f9c2a",)
    spoke: int  # number of deliveries for which a new comment was planned
    mean_tokens: float
    mean_cost_usd: float | None  # of the known costs; None if none is known


def summarize(sides: Sequence[Side]) -> Summary:
    costs = [one.cost_usd for one in sides if one.cost_usd is not None]
    return Summary(
        ids=tuple(sorted({one.result.prompt_id for one in sides})),
        spoke=sum(one.result.speaks for one in sides),
        mean_tokens=sum(one.tokens for one in sides) / len(sides),
        mean_cost_usd=sum(costs) / len(costs) if costs else None,
    )


Counted = TypeVar("Counted", str, Difference)


@dataclass(frozen=True, slots=True)
class Pair:
    guid: str
    event_key: str  # "issues.opened"
    conversation: str  # "owner/repo#7"
    one: Side
    other: Side

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The label groups for which the two prompts requested different labels."""
        one, other = _by_group(self.one.result), _by_group(self.other.result)
        groups = dict.fromkeys([*one, *other])
        found = (Difference(group, one.get(group, ()), other.get(group, ())) for group in groups)
        return tuple(difference for difference in found if difference.one != difference.other)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One pair of results for each delivery. `Pair.one` is from the prompt that the user named first."""

    pairs: tuple[Pair, ...]
    excluded: Mapping[str, int]  # "failed" -> 2: deliveries without a result to compare

    @property
    def summaries(self) -> tuple[Summary, Summary]:
        return summarize([pair.one for pair in self.pairs]), summarize([pair.other for pair in self.pairs])

    @property
    def differing(self) -> int:
        """Number of deliveries for which the two prompts requested different labels."""
        return sum(bool(pair.differences) for pair in self.pairs)

    @property
    def groups(self) -> Sequence[tuple[str, int]]:
        """Number of deliveries for which the two prompts requested different labels, by label group, highest first."""
        return _ranked(difference.group for pair in self.pairs for difference in pair.differences)

    @property
    def differences(self) -> Sequence[tuple[Difference, int]]:
        """Each difference with the number of deliveries that have this difference; highest number first."""
        return _ranked(difference for pair in self.pairs for difference in pair.differences)

    @property
    def spoke_differently(self) -> int:
        """Number of deliveries for which only one of the two prompts planned a new comment."""
        return sum(pair.one.result.speaks != pair.other.result.speaks for pair in self.pairs)


def compare_stored(store: Storage, prompt: str, other: str | None, *, since: datetime) -> Comparison:
    """Compare the stored results of a shadow prompt with the posted results for the same deliveries.

    Only deliveries received since `since` (aware UTC) count. `prompt` and `other` are names or ids of prompts, and one
    of the two is the shadow prompt. If `other` is None, the shadow prompt is `prompt`, and all posted results count.
    """
    pairs: list[Pair] = []
    excluded: Counter[str] = Counter()
    for row in store.deliveries.with_checkpoint(SHADOW.name, since=since):
        shadowed = SHADOW.decode(store.checkpoints.load(row.guid).get((SHADOW.name, 0)))
        if shadowed is None:
            continue
        calls = store.calls.calls_of(row.guid)
        posted = side(shadowed.posted, [call for call in calls if not call.of_shadow])
        if shadowed.ran is None:
            is_meant = is_named(prompt.partition("@")[0], shadowed.prompt)
            excluded[shadowed.state] += is_meant and (other is None or is_named(other, posted.result.prompt_id))
            continue
        shadow = side(shadowed.ran, [call for call in calls if call.of_shadow])
        if is_named(prompt, shadow.result.prompt_id) and (other is None or is_named(other, posted.result.prompt_id)):
            pairs.append(pair(row, shadow, posted))
        elif (
            other is not None and is_named(prompt, posted.result.prompt_id) and is_named(other, shadow.result.prompt_id)
        ):
            pairs.append(pair(row, posted, shadow))
    return Comparison(tuple(pairs), +excluded)


def pair(row: DeliveryRow, one: Side, other: Side) -> Pair:
    conversation = f"{row.repository}#{row.number}"
    return Pair(row.guid, event_key(row.event, row.action), conversation, one, other)


def is_named(given: str, prompt_id: str) -> bool:
    """Return True if `given` is the prompt's id ("issues/strict@3f9c2a") or its name ("issues/strict")."""
    return given in (prompt_id, prompt_id.partition("@")[0])


def side(result: PromptResult, spent: Iterable[CallRow | Usage]) -> Side:
    """Return the result with the total tokens and cost of the calls in `spent`."""
    calls = list(spent)
    tokens = sum(
        count or 0
        for call in calls
        for count in (call.input_tokens, call.output_tokens, call.cache_write_tokens, call.cache_read_tokens)
    )
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    return Side(result, tokens, sum(costs) if costs else None)


def _by_group(result: PromptResult) -> dict[str, tuple[str, ...]]:
    groups = dict.fromkeys(label.group for label in result.labels)
    return {group: tuple(sorted(label.name for label in result.labels if label.group == group)) for group in groups}


def _ranked(found: Iterable[Counted]) -> list[tuple[Counted, int]]:
    return sorted(Counter(found).items(), key=lambda counted: (-counted[1], counted[0]))


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    source: StoredFacts
    rule: Rule
    posted: Side


def load_stored_delivery(
    store: Storage, row: DeliveryRow, prompt: Prompt, library: Library, table: RepositoryTable
) -> StoredDelivery | None:
    """Return a delivery with its facts, for a run of `prompt`. None if `prompt` is for other events.

    Also None if the delivery is not "done", if its settings, body, facts or replies are missing or invalid, or if a
    reply came from the cache: then an earlier delivery had the same question, and this one has no cost to compare.
    """
    if row.state != "done":
        return None
    try:
        source = load_stored_facts(store, row, table)
    except NotRepeatable:
        return None
    event, handler, facts, steps = source.event, source.handler, source.facts, source.steps
    answers = decode_answers(steps, library)
    if not is_for(prompt, event) or not answers or any(answer.cached_at is not None for answer in answers):
        return None
    outcomes = [OUTCOME.decode(step) for (name, _), step in steps.items() if name == OUTCOME.name]
    commented = any(outcome is not None and outcome.action == "comment" for outcome in outcomes)
    analysis = Analysis(tuple(answers), comment="a comment" if commented else None)
    result = prompt_result(analysis, handler.plan(event, facts, analysis))
    calls = (call for call in store.calls.calls_of(row.guid) if not call.of_shadow)
    return StoredDelivery(source, make_rule(source, prompt), side(result, calls))


def is_for(prompt: Prompt, event: Event) -> bool:
    return event.key in prompt.on or event.name in prompt.on


def make_rule(source: StoredFacts, prompt: Prompt) -> Rule:
    """Return the rule for a new run of a delivery."""
    return Rule(source.event.key, prompt.name, source.effective, prompt.path)


def decode_answers(steps: Mapping[tuple[str, int], Checkpoint], library: Library) -> list[ValidReply]:
    """Return the stored replies to the first prompt, joined, and to its follow-up prompts, without the verification."""
    numbers = sorted(index for name, index in steps if name == ASK and index < VERIFICATION)
    decoded = {index: _decode(steps[ASK, index], library) for index in numbers}
    of_parts = [reply for index, reply in decoded.items() if reply and (index == 0 or index >= FIRST_PART)]
    followed = [reply for index, reply in decoded.items() if reply and 0 < index < FIRST_PART]
    return [*([join_replies(of_parts)] if of_parts else []), *followed]


def _decode(step: Checkpoint, library: Library) -> ValidReply | None:
    displayed = decode_reply_for_display(step)
    prompt = library.prompts.get(displayed.prompt_id.partition("@")[0]) if displayed is not None else None
    reply = decode_reply(step, reply_type=prompt.reply, model=prompt.reply_model) if prompt is not None else None
    return reply or displayed  # `displayed`: the prompt was removed or has other fields now


def render_requests(source: StoredFacts, rule: Rule, library: Library, key: bytes) -> tuple[RenderedPrompt, ...]:
    """Return the requests of the first prompt that `run_again` sends, for each part. Raises `PromptError`."""
    handler = source.handler
    make_variables = partial(template_variables, source.event, handler, prompt=rule.prompt, effective=rule.effective)
    parts = handler.split(source.facts)
    return tuple(render(library, rule.prompt, make_variables(part), key=key) for part in parts)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A new run of a prompt with the facts of a stored delivery. Nothing of it is stored or posted."""

    side: Side
    answered: Answers
    actions: tuple[Action, ...]  # that would follow


def run_again(
    source: StoredFacts, rule: Rule, library: Library, claude: Claude, key: bytes, *, keeps_review: bool = False
) -> NewRun:
    """Send `rule.prompt`, the verification and the follow-up prompts to Claude, and return what would follow.

    With `keeps_review`, the replies count also if a follow-up prompt gets none. Raises `PromptError` or a `StepFailed`.
    """

    usages: list[Usage] = []

    def ask_one(name: str, variables: Mapping[str, object], index: int) -> ValidReply:
        rendered = render(library, name, variables, key=key)
        answer = claude.ask(rendered)
        usages.append(answer.usage)
        if not isinstance(answer, ValidReply):
            raise Permanent(f"Claude's reply to {answer.prompt_id} cannot be used: {answer.problem}")
        prompt, unshown = rendered.prompt, find_unshown(variables, rendered.task)
        redacted = decode_reply(encode_reply(answer, index=index), reply_type=prompt.reply, model=prompt.reply_model)
        assert redacted is not None
        return replace(redacted, unshown=unshown)

    handler, event, first = source.handler, source.event, rule.prompt
    make_variables = partial(template_variables, event, handler, prompt=first, effective=rule.effective)
    asking = Asking(library, first, make_variables, ask_one, keeps_review=keeps_review)
    answered = handler.consult(asking, source.facts)
    analysis = render_chain(library, answered.names, handler, answered.facts, answered.answers, answered.variables, key)
    actions = handler.plan(event, answered.facts, analysis)
    return NewRun(side(prompt_result(analysis, actions), usages), answered, actions)
