"""Runs the shadow prompt of a delivery after posting, with the same facts. Its result is stored and
not posted.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import TypeAdapter

from hls_handler.actions import Action, EnsureComment, EnsureLabels, RequestedLabel
from hls_handler.analysis import Analysis
from hls_handler.deliveries import Posted
from hls_handler.engine.asking import PROMPT_SECRET, ClaudeQuestions, Comments
from hls_handler.engine.job import Codec, Job
from hls_handler.engine.trial_job import TrialJob
from hls_handler.errors import (
    DependencyDown,
    LeaseLost,
    Postponed,
    PromptError,
    StepFailed,
    StoreUnavailable,
)
from hls_handler.handlers.asking import Asking
from hls_handler.handlers.handler import common_variables
from hls_handler.queue.checkpoints import StatusChange
from hls_handler.queue.locks import LocksReleased
from hls_handler.routing import Shadow
from hls_handler.store.calls import hold_calls
from hls_handler.tracing import span
from hls_handler.wording import count, was_or_were

log = logging.getLogger(__name__)

SHADOW_SHARE = 0.8
"""Shadow prompts are skipped once this share of `claude.calls_per_hour` is used. The rest is for
other prompts.
"""


ShadowState = Literal["done", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class PromptResult:
    prompt_id: str  # "issues/strict@3f9c2a"; the first if `then` leads to others
    labels: tuple[RequestedLabel, ...]
    speaks: bool  # whether a new comment was planned
    fields: tuple[str, ...] = ()  # of the replies, that can lead to labels; () in old shadows

    @property
    def label_fields(self) -> frozenset[str]:
        return frozenset(self.fields or (label.field for label in self.labels))


@dataclass(frozen=True, slots=True)
class ShadowResult:
    """The results of two prompts for one delivery: `ran` is from the shadow prompt, `posted` from
    the rule's prompt.
    """

    prompt: str  # "issues/strict"
    state: ShadowState
    reason: str | None  # why it failed or was skipped
    ran: PromptResult | None  # the shadow's result; None unless done
    posted: PromptResult


SHADOW = Codec("shadow", 2, TypeAdapter(ShadowResult), readable=(1,))


def prompt_result(analysis: Analysis, actions: tuple[Action, ...]) -> PromptResult:
    """Return the labels and the planned comment of an analysis, for comparisons."""
    fields = set[str]()
    for answer in analysis.replies:
        fields |= type(answer.fields).label_rules.keys()
        fields |= type(answer.fields).model_fields.keys() & {"suggested_labels"}
    return PromptResult(
        prompt_id=analysis.replies[0].prompt_id if analysis.replies else "",
        labels=tuple(
            label
            for action in actions
            if isinstance(action, EnsureLabels)
            for label in action.requested
        ),
        speaks=any(isinstance(action, EnsureComment) and action.create for action in actions),
        fields=tuple(sorted(fields)),
    )


def run_shadow(
    job: Job, facts: Any, posted: PromptResult, posting: Posted | None, *, is_cached: bool
) -> None:
    """Run the rule's shadow prompt, if it has one, and store its result together with `posted`.

    The shadow prompt is skipped if the service stops, if Claude's rate limit is reached, or if the
    calls of the last hour reach the share `SHADOW_SHARE` of `claude.calls_per_hour`. It is also
    skipped if a posted reply came from the cache (`is_cached`): the same question was compared
    before, and a reply without a call has no cost to compare. The shadow prompt itself does not use
    the cache. A failed shadow prompt does not fail the delivery. Raises only `LeaseLost` and
    `StoreUnavailable`.
    """
    shadow = job.rule.shadow
    if shadow is None or job.find_result(SHADOW) is not None:
        return
    # Stores what was posted and releases the comment's lock before the call to Claude.
    if posting is not None:
        job.pending.add(StatusChange({"posting_status": posting, "posting_error": None}))
    job.store.checkpoints.save(job.lease, *job.pending.take(), LocksReleased())
    with span("shadow", {"hls.prompt": shadow.prompt}):
        result = _run_shadow(job, shadow, facts, posted, is_cached=is_cached)
    job.add(SHADOW, result)
    log.info(
        "shadow prompt ended",
        extra={"prompt": shadow.prompt, "state": result.state, "reason": result.reason},
    )


def _run_shadow(
    job: Job, shadow: Shadow, facts: Any, posted: PromptResult, *, is_cached: bool
) -> ShadowResult:
    def end(
        state: ShadowState, reason: str | None, ran: PromptResult | None = None
    ) -> ShadowResult:
        return ShadowResult(shadow.prompt, state, reason, ran, posted)

    settings = job.config.settings
    library = job.config.library
    try:
        if shadow.prompt not in library.prompts:
            where = settings.sources.where(shadow.chosen_by)
            return end("failed", f"{where} names {shadow.prompt}, but no such prompt exists")
        if is_cached:
            return end(
                "skipped", "the posted reply came from the cache of replies (claude.cache_ttl_h)"
            )
        calls = job.store.calls.count_last_hour()
        most = settings.claude.calls_per_hour
        if calls >= SHADOW_SHARE * most:
            used = f"{calls} of {count(most, 'call')} {was_or_were(calls)} made within the hour"
            share = f"the last {1 - SHADOW_SHARE:.0%} of claude.calls_per_hour"
            return end("skipped", f"shadow prompts may not use {share}: {used}")
        rule = replace(job.rule, prompt=shadow.prompt)
        common = common_variables(job.event, shadow.prompt, rule.effective)
        questions = ClaudeQuestions(job, of_shadow=True)
        asking = Asking(library, shadow.prompt, common, questions.send, is_verified=False)
        key = job.store.database.secret(PROMPT_SECRET)
        comments = Comments(library, common, key, job.handler.has_sections)
        trial = TrialJob(job.event, rule, asking, comments, facts=facts)
        trial.run(job.handler)
        return end("done", None, prompt_result(trial.analysis, trial.actions))
    except (LeaseLost, StoreUnavailable):
        raise
    except Postponed as exc:
        return end("skipped", str(exc))
    except (StepFailed, PromptError) as exc:
        if (
            isinstance(exc, DependencyDown)
            and exc.applies_to_all_calls
            and exc.not_before is not None
        ):
            # until the time that Claude gave
            hold_calls(job.store.rate_limiter, exc, exc.not_before)
        return end("failed", str(exc))
    except Exception as exc:  # a defect here must not fail a delivery that is posted
        log.exception("defect in a shadow prompt")
        return end(
            "failed",
            f"defect in HLS, please report it: {type(exc).__name__} (the log has the trace)",
        )
