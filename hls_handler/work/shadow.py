"""Shadow prompt: a second prompt that runs with the same facts after posting; its result is stored, not posted."""

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
from hls_handler.work.library import template_variables
from hls_handler.work.memory import Codec

log = logging.getLogger(__name__)

SHARE = 0.8
"""A shadow is skipped once this share of `claude.calls_per_hour` is used; the rest is for posted prompts."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Result of a prompt for one delivery."""

    prompt_id: str  # "issues/strict@3f9c2a"; of a chain, its first
    labels: tuple[RequestedLabel, ...]
    speaks: bool  # whether a comment was to be made where there is none


@dataclass(frozen=True, slots=True)
class Shadowed:
    """Result of a shadow prompt and of the prompt whose result was posted."""

    prompt: str  # "issues/strict"
    state: Literal["done", "failed", "skipped"]
    reason: str | None  # why it failed or was skipped
    ran: Ran | None  # when it is done
    posted: Ran


SHADOWED = Codec("shadow", 1, TypeAdapter(Shadowed))


def came_to(analysis: Analysis, actions: tuple[Action, ...]) -> Ran:
    """Return the requested labels and whether a new comment is planned. `analysis` has at least one reply."""
    return Ran(
        prompt_id=analysis.answers[0].prompt_id,
        labels=tuple(label for action in actions if isinstance(action, EnsureLabels) for label in action.requested),
        speaks=any(isinstance(action, EnsureComment) and action.create for action in actions),
    )


def run_shadow(job: Job, facts: Any, posted: Ran, posting: Posted | None) -> None:
    """Run the rule's shadow prompt, if it has one, and store the result. `posted` is the result of the posted prompt.

    A failure is stored as the shadow's result and does not fail the delivery. A shadow that would have to wait is
    skipped, so that the delivery ends. Raises only `LeaseLost` and `StoreUnavailable`.
    """
    shadow = job.rule.shadow
    if shadow is None or SHADOWED.decode(job.steps.get((SHADOWED.name, 0))) is not None:
        return
    # Stores what was posted and releases the comment's lock before the call to Claude.
    job.tools.store.checkpoints.save(job.lease, *job.take_pending(), posting=posting, unlock=True)
    result = _result(job, shadow, facts, posted)
    job.pending.append(SHADOWED.encode(result, index=0, took_s=0.0))
    log.info("shadow ended", extra={"prompt": shadow.prompt, "state": result.state, "reason": result.reason})


def _result(job: Job, shadow: Shadow, facts: Any, posted: Ran) -> Shadowed:
    try:
        ran = _run_prompt(job, shadow, facts)
    except (LeaseLost, StoreUnavailable):
        raise
    except Postponed as exc:
        return Shadowed(shadow.prompt, "skipped", str(exc), None, posted)
    except (StepFailed, PromptError) as exc:
        if isinstance(exc, DependencyDown) and exc.applies_to_all_calls and exc.not_before is not None:
            job.tools.store.rate_limiter.hold(CLAUDE_RATE_LIMIT, exc.not_before)  # as the server asked
        return Shadowed(shadow.prompt, "failed", str(exc), None, posted)
    except Exception as exc:  # a defect here must not fail a delivery that is posted
        log.exception("defect in a shadow")
        reason = f"defect in HLS, please report it: {type(exc).__name__} (the log has the trace)"
        return Shadowed(shadow.prompt, "failed", reason, None, posted)
    return Shadowed(shadow.prompt, "done", None, ran, posted)


def _run_prompt(job: Job, shadow: Shadow, facts: Any) -> Ran:
    settings, handler, event = job.now.settings, job.handler, job.event
    if shadow.prompt not in job.now.library.prompts:
        raise Permanent(f"there is no prompt {shadow.prompt}, which {settings.sources.where(shadow.chosen_by)} names")
    calls, most = job.tools.store.calls.count_last_hour(), settings.claude.calls_per_hour
    if calls >= SHARE * most:
        raise Postponed(
            f"{calls} calls within the hour, and claude.calls_per_hour allows {most}: shadow prompts may not "
            f"use the last {1 - SHARE:.0%}",
            at=job.tools.store.now(),
        )
    effective = job.rule.effective
    variables = template_variables(
        event, handler, facts, prompt=shadow.prompt, dry_run=effective.features.dry_run, comments=effective.comments
    )

    def format_for_comment(reply: Reply) -> Mapping[str, object]:
        return handler.comment_variables(facts, reply)

    analysis = analyse(job, variables, format_for_comment, shadow=shadow.prompt)
    return came_to(analysis, handler.plan(event, facts, analysis))
