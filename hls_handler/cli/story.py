"""Everything that the store has about one delivery, for the commands that print deliveries."""

from __future__ import annotations

from dataclasses import dataclass

from hls_handler.actions import Outcome
from hls_handler.analysis import ValidReply
from hls_handler.deliveries import FIRST_SHADOW_STEP
from hls_handler.history.calls import CallRow
from hls_handler.history.statistics import DeliveryRow
from hls_handler.queue.pauses import Pause
from hls_handler.storage import Storage
from hls_handler.work.memory import OMITTED, OUTCOME, RULE, retell_answer
from hls_handler.work.pauses import holding
from hls_handler.work.repository_settings import OWN_FILE
from hls_handler.work.shadow import SHADOWED, Shadowed
from hls_handler.work.telling import TOLD


@dataclass(frozen=True, slots=True)
class StepTime:
    name: str  # "gather", "ask", "apply 1"
    took_s: float


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    delivery: DeliveryRow
    rule: str | None  # the sentence of the rule that accepted it; None if it was not routed
    own_settings: str | None  # a sentence about .github/hls.yaml; None if there is no such file
    told: Outcome | None  # result of the comment about problems in .github/hls.yaml
    omitted: tuple[str, ...]  # sentences about content that was left out of the prompt
    answers: tuple[ValidReply, ...]  # without the shadow prompt's
    outcomes: tuple[Outcome, ...]
    calls: tuple[CallRow, ...]
    times: tuple[StepTime, ...]
    shadow: Shadowed | None = None
    held_by: Pause | None = None  # the pause that blocks a queued delivery

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that this delivery set or, in a dry run, would have set."""
        return tuple(label for outcome in self.outcomes for label in outcome.added)

    @property
    def comment(self) -> str | None:
        """Body of the last comment that was written or, in a dry run, would have been written."""
        bodies = [outcome.body for outcome in self.outcomes if outcome.action == "comment" and outcome.body]
        return bodies[-1] if bodies else None


def tell(store: Storage, delivery: DeliveryRow) -> DeliveryReport:
    steps = store.checkpoints.load(delivery.guid)
    ordered = sorted(steps.items(), key=lambda item: (_ORDER.get(item[0][0], 9), item[0][1]))
    omitted = [OMITTED.decode(step) for (name, _), step in ordered if name == OMITTED.name]
    answers = [retell_answer(step) for (name, index), step in ordered if name == "ask" and index < FIRST_SHADOW_STEP]
    outcomes = [OUTCOME.decode(step) for (name, _), step in ordered if name == OUTCOME.name]
    repository_file = OWN_FILE.decode(steps.get((OWN_FILE.name, 0)))
    return DeliveryReport(
        delivery=delivery,
        rule=RULE.decode(steps.get((RULE.name, 0))),
        own_settings=repository_file.told() if repository_file is not None else None,
        told=TOLD.decode(steps.get((TOLD.name, 0))),
        omitted=tuple(sentence for sentence in omitted if sentence is not None),
        answers=tuple(answer for answer in answers if answer is not None),
        outcomes=tuple(outcome for outcome in outcomes if outcome is not None),
        calls=tuple(store.calls.calls_of(delivery.guid)),
        times=tuple(
            StepTime(_step_name(name, index), step.took_s) for (name, index), step in ordered if name in _ORDER
        ),
        shadow=SHADOWED.decode(steps.get((SHADOWED.name, 0))),
        held_by=holding(delivery.repository, store.pauses.active()) if delivery.state == "queued" else None,
    )


def _step_name(name: str, index: int) -> str:
    if index >= FIRST_SHADOW_STEP:
        return f"{_step_name(name, index - FIRST_SHADOW_STEP)} (shadow)"
    return name if index == 0 else f"{name} {index + 1}"


_ORDER = {"gather": 0, "unusable": 1, "ask": 2, "apply": 3}
