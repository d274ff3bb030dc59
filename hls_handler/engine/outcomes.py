"""Executes each action of a delivery once, and stores its outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import TypeVar

from hls_handler.actions import Action, EnsureCheck, EnsureComment, Outcome, target_of
from hls_handler.engine.checks import ensure_check
from hls_handler.engine.codecs import OUTCOME
from hls_handler.engine.job import DeliveryJob

OneAction = TypeVar("OneAction", bound=Action)


def store_unposted(job: DeliveryJob, actions: tuple[Action, ...]) -> tuple[Outcome, ...]:
    """Store the comments of a delivery without a conversation as outcomes of the kind "withheld",
    and return them.
    """
    steps = OutcomeSteps(job)
    comments = [action for action in actions if isinstance(action, EnsureComment)]
    return tuple(
        steps.execute(comment, lambda comment, _: withhold_comment(comment)) for comment in comments
    )


def withhold_comment(action: EnsureComment) -> Outcome:
    detail = "there is no issue or pull request to post on; the comment is stored here"
    return Outcome("comment", "withheld", detail, body=action.body)


class OutcomeSteps:
    """Executes each action of a delivery once: its outcome is stored under its target."""

    def __init__(self, job: DeliveryJob) -> None:
        self._job = job
        self._targets = dict[int, str]()  # by the index of the checkpoint
        for (name, index), step in job.steps.items():
            if name != OUTCOME.name:
                continue
            outcome = OUTCOME.decode(step)
            if outcome is not None:
                self._targets[index] = outcome.target

    def execute(self, action: OneAction, do: Callable[[OneAction, int], Outcome]) -> Outcome:
        """Return the stored outcome of the target, or call `do`, also with the index of its
        checkpoints.
        """
        target = target_of(action)
        index = self._find_index(target)
        self._targets[index] = target
        return self._job.run_step(OUTCOME, index, lambda: replace(do(action, index), target=target))

    def _find_index(self, target: str) -> int:
        for index, stored in self._targets.items():
            if stored == target:
                return index
        return next(index for index in count() if index not in self._targets)


def is_check_ended(job: DeliveryJob) -> bool:
    """Return True if an earlier attempt set the result of the check."""
    outcomes = [
        OUTCOME.decode(step) for (name, _), step in job.steps.items() if name == OUTCOME.name
    ]
    return any(outcome is not None and outcome.action == "check" for outcome in outcomes)


def post_without_reply(job: DeliveryJob, actions: tuple[EnsureCheck, ...]) -> tuple[Outcome, ...]:
    """Execute the actions of a delivery that needs no call to Claude, and return their outcomes."""
    job.require_reads_allowed()
    steps = OutcomeSteps(job)
    return tuple(
        steps.execute(action, lambda check, _: ensure_check(job, check)) for action in actions
    )
