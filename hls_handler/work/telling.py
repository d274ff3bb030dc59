"""Telling a repository's maintainers of the problems in their settings file: once for each version of it."""

from __future__ import annotations

import logging
from functools import partial

from pydantic import TypeAdapter

from hls_handler.actions import Outcome
from hls_handler.errors import Permanent
from hls_handler.handlers.handler import Thread
from hls_handler.settings.repository import RepositorySettingsFile, build_problems_comment
from hls_handler.work.job import Job
from hls_handler.work.memory import Codec
from hls_handler.work.posting import ensure_comment

log = logging.getLogger(__name__)

TOLD = Codec("told_of_settings", 1, TypeAdapter(Outcome))

BESIDE = 1_000
"""A number that no action of a plan has."""


def tell_of_problems(job: Job, thread: Thread) -> None:
    """Comment on the thread at hand, unless another delivery told of them. Who has comments off finds them in the log.

    A dry run tells nobody: the version is still to be told of when it ends.
    """
    file, features = job.own_file, job.rule.effective.features
    if file is None or not file.own.problems or features.dry_run or not features.auto_commenting:
        return
    job.once(TOLD, 0, partial(_tell, job, thread, file))


def _tell(job: Job, thread: Thread, file: RepositorySettingsFile) -> Outcome:
    repository = job.event.repository
    if not job.tools.store.repository_files.claim_report(job.lease, repository.id, job.bot.login, file.version or ""):
        return Outcome("comment", "withheld", "another delivery tells of the settings file's problems")
    try:
        return ensure_comment(
            job, thread, build_problems_comment(file.own.problems), index=BESIDE, require_not_superseded=_always_news
        )
    except Permanent as exc:  # the delivery's own work is posted, and stays done
        log.warning("the settings file's problems could not be told", extra={"reason": str(exc)})
        return Outcome("comment", "withheld", str(exc))


def _always_news() -> None:
    """No other event overtakes what is said of a version of the file."""
