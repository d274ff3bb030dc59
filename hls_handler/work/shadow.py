"""The shadow: a second prompt, asked about the same facts once the event's own is posted; nothing of it is posted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from hls_handler.actions import Action, EnsureComment, EnsureLabels, RequestedLabel
from hls_handler.analysis import Analysis, Reply
from hls_handler.errors import (
    DependencyDown,
    LeaseLost,
    Permanent,
    Postponed,
    PromptError,
    StepFailed,
    StoreUnavailable,
)
from hls_handler.history.calls import CLAUDE_RATE_LIMIT
from hls_handler.queue.checkpoints import Posted
from hls_handler.routing import Shadow
from hls_handler.work.asking import analyse
from hls_handler.work.job import Job
from hls_handler.work.memory import Codec
from hls_handler.work.variables import template_variables

log = logging.getLogger(__name__)

SHARE = 0.8
"""How much of `claude.calls_per_hour` may be used up for a shadow to be asked; the rest is for what is posted."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a prompt came to on one delivery."""

    prompt_id: str  # "issues/strict@3f9c2a"; of a chain, its first
    labels: tuple[RequestedLabel, ...]
    speaks: bool  # whether a comment was to be made where there is none


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What became of a shadow, beside what the event's own prompt came to."""

    prompt: str  # "issues/strict"
    state: Literal["done", "failed", "skipped"]
    reason: str | None  # why it failed or was skipped
    ran: Ran | None  # when it is done
    posted: Ran


SHADOWED = Codec("shadow", 1, TypeAdapter(Shadowed))


def came_to(analysis: Analysis, actions: tuple[Action, ...]) -> Ran:
    """What an analysis by Claude and the actions that were planned for it amount to."""
    return Ran(
        prompt_id=analysis.answers[0].prompt_id,
        labels=tuple(wish for action in actions if isinstance(action, EnsureLabels) for wish in action.requested),
        speaks=any(isinstance(action, EnsureComment) and action.create for action in actions),
    )


def run_shadow(job: Job, facts: Any, posted: Ran, posting: Posted | None) -> None:
    """Ask the rule's shadow, if it has one, and remember what it came to. `posted` is what the event's own came to.

    Whatever goes wrong with it is remembered too, and is nobody else's trouble: the delivery's own work is done. It
    waits for nothing, so that the delivery ends; what it would have to wait for is the reason why it is skipped.
    Raises `LeaseLost` and `StoreUnavailable` alone.
    """
    shadow = job.rule.shadow
    if shadow is None or SHADOWED.decode(job.steps.get((SHADOWED.name, 0))) is not None:
        return
    # What is posted is kept, and nobody waits for our comment's lock while Claude is asked.
    job.tools.store.checkpoints.save(job.lease, *job.take_pending(), posting=posting, unlock=True)
    result = _result(job, shadow, facts, posted)
    job.pending.append(SHADOWED.encode(result, index=0, took_s=0.0))
    log.info("shadow ended", extra={"prompt": shadow.prompt, "state": result.state, "reason": result.reason})


def _result(job: Job, shadow: Shadow, facts: Any, posted: Ran) -> Shadowed:
    try:
        ran = _asked(job, shadow, facts)
    except (LeaseLost, StoreUnavailable):
        raise
    except Postponed as exc:
        return Shadowed(shadow.prompt, "skipped", str(exc), None, posted)
    except (StepFailed, PromptError) as exc:
        if isinstance(exc, DependencyDown) and exc.applies_to_all_calls and exc.not_before is not None:
            job.tools.store.rate_limiter.hold(CLAUDE_RATE_LIMIT, exc.not_before)  # the server's word to everybody
        return Shadowed(shadow.prompt, "failed", str(exc), None, posted)
    except Exception as exc:  # a defect of ours in what only watches must not undo what was posted
        log.exception("defect in a shadow")
        reason = f"defect in HLS, please report it: {type(exc).__name__} (the log has the trace)"
        return Shadowed(shadow.prompt, "failed", reason, None, posted)
    return Shadowed(shadow.prompt, "done", None, ran, posted)


def _asked(job: Job, shadow: Shadow, facts: Any) -> Ran:
    settings, handler, event = job.now.settings, job.handler, job.event
    if shadow.prompt not in job.now.library.prompts:
        raise Permanent(f"there is no prompt {shadow.prompt}, which {settings.sources.where(shadow.chosen_by)} names")
    calls, most = job.tools.store.calls.count_last_hour(), settings.claude.calls_per_hour
    if calls >= SHARE * most:
        raise Postponed(
            f"{calls} calls within the hour, and claude.calls_per_hour allows {most}: a shadow leaves the last "
            f"{1 - SHARE:.0%} to others",
            at=job.tools.store.now(),
        )
    holds = job.rule.effective
    variables = template_variables(
        event, handler, facts, prompt=shadow.prompt, dry_run=holds.features.dry_run, comments=holds.comments
    )

    def format_for_comment(reply: Reply) -> Mapping[str, object]:
        return handler.comment_variables(event, facts, reply)

    analysis = analyse(job, variables, format_for_comment, shadow=shadow.prompt)
    return came_to(analysis, handler.plan(event, facts, analysis, job.rule))
