"""Every head commit of an enabled repository's pull request ends with a check: that of an ignored event says why.

Reviews set their checks themselves, and `CheckEnder` ends those of deliveries that failed or were superseded.
"""

from __future__ import annotations

from hls_handler.actions import Outcome
from hls_handler.engine.commit_checks import ensure_check
from hls_handler.engine.job import Job
from hls_handler.engine.repository_settings import apply_to_rule, load_repository_settings
from hls_handler.handlers.check import plan_ignored_check
from hls_handler.routing import BY_OPERATOR, IgnoredKind, RoutingInput, brings_diff, is_retargeted, may_have_checks


def end_ignored_check(job: Job, routing_input: RoutingInput, kind: IgnoredKind, reason: str) -> Outcome | None:
    """End the check on the head commit of an event that is ignored for `reason`; return None if it needs none.

    If an earlier event has set a check on the commit, what the operator's settings decide leaves it as it is, unless
    the base branch was changed. A check that a later event has set always stays.
    """
    commit = _find_head(job, routing_input)
    if commit is None:
        return None
    checks = job.store.commit_checks
    newest = checks.find_order(job.lease, commit)
    is_by_operator = kind in BY_OPERATOR
    is_kept = newest == "earlier" and is_by_operator and not is_retargeted(routing_input)
    if newest == "later" or is_kept:
        return None
    checks.plan(job.lease, commit)  # so that a dead letter has a check, too
    job = apply_to_rule(load_repository_settings(job))
    effective, settings = job.rule.effective, job.config.settings
    if not may_have_checks(effective):
        return None
    job.require_reads_allowed()
    reason, is_exempt = settings.shorten_paths(reason), is_by_operator and newest is None
    outcome = ensure_check(job, plan_ignored_check(commit, reason, effective.review, is_exempt=is_exempt))
    job.context.health.ok("github")
    return outcome


def outdate_check(job: Job, routing_input: RoutingInput) -> None:
    """Let the check that HLS has set on the head commit end even if the delivery ends without a review."""
    commit = _find_head(job, routing_input)
    if commit is not None and job.store.commit_checks.find_order(job.lease, commit) == "earlier":
        job.store.commit_checks.plan(job.lease, commit, must_end=True)


def _find_head(job: Job, routing_input: RoutingInput) -> str | None:
    """Return the head commit, if the event may bring another diff and the settings enable checks."""
    pull_request = job.event.pull_request
    if pull_request is None or not brings_diff(routing_input) or not may_have_checks(job.rule.effective):
        return None
    return pull_request.head_sha
