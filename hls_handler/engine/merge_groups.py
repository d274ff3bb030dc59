"""Sets the check on a commit of a merge queue: from the stored results of reviews, without a call to Claude."""

from __future__ import annotations

from datetime import timedelta

from hls_handler.actions import Outcome
from hls_handler.engine.commit_checks import ensure_check
from hls_handler.engine.job import Job
from hls_handler.engine.repository_settings import apply_to_rule, load_repository_settings
from hls_handler.errors import Permanent, Postponed
from hls_handler.handlers.merge_groups import HeadCheck, find_merged, find_queued, plan_group_check
from hls_handler.handlers.reader import Reader
from hls_handler.routing import may_have_checks

POLL_S = 10.0
"""Pause while a review of one of the pull requests is in progress."""


def end_group_check(job: Job) -> Outcome | None:
    """End the check of a merge group; return None if the repository's settings allow none.

    Raises `Postponed` while one of the pull requests is reviewed.
    """
    group = job.event.merge_group
    if group is None:
        raise Permanent("the payload does not fit the event merge_group: it has no merge_group")
    job.store.commit_checks.plan(job.lease, group.head_sha)  # so that a dead letter has a check, too
    job = apply_to_rule(load_repository_settings(job))
    effective = job.rule.effective
    if not may_have_checks(effective):
        return None
    job.require_reads_allowed()
    reader, queued = job.context.github.reader(job.event.repository.full_name), find_queued(group.head_ref)
    merged = None
    if queued is not None:
        merged = find_merged(queued, reader.commits_between(group.base_sha, group.head_sha))
    found = [_find_head_check(job, reader, number, is_queued=number == queued) for number in merged or ()]
    heads = [head for head in found if head is not None]
    job.context.health.ok("github")
    return ensure_check(job, plan_group_check(group.head_sha, heads, effective.review))


def _find_head_check(job: Job, reader: Reader, number: int, *, is_queued: bool) -> HeadCheck | None:
    """Return the check of a pull request; None if a commit only names one that is not in the queue: it is not open."""
    try:
        pull_request = reader.pull_request(number)
    except Permanent:
        if is_queued:
            raise
        return None  # the number of an issue
    if pull_request.state == "closed" and not is_queued:
        return None
    repository_id, commit = job.event.repository.id, pull_request.head_sha
    result = job.store.commit_checks.find_result(repository_id, number, commit)
    if result is None:
        return HeadCheck(number, commit)
    if result.is_running:
        at = job.store.now() + timedelta(seconds=POLL_S)
        raise Postponed(f"pull request {number} of the merge queue is being reviewed", at=at)
    return HeadCheck(number, commit, result.conclusion, result.is_exempt)
