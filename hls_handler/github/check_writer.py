"""Writes the check on a commit: a check run of a GitHub App, or the commit status of a token.

https://docs.github.com/en/rest/checks/runs
https://docs.github.com/en/rest/commits/statuses
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hls_handler.actions import Annotation, CommitCheck, Conclusion, EnsureCheck, WrittenCheck
from hls_handler.github.api import RepositoryApi, parse
from hls_handler.github.comments import Written, truncate_comment

if TYPE_CHECKING:
    from github.Repository import Repository

CHECK_NAME = "HLS review"
"""Name of the check run, and context of the commit status. Rules of a branch name it, so it never
changes.
"""

MAX_TEXT_CHARS = 65_535  # of a summary
MAX_TITLE_CHARS = 255  # of an annotation
MAX_MESSAGE_CHARS = 60_000  # of an annotation: GitHub allows 64 kB
MAX_ANNOTATIONS = 50  # in one request
MAX_DESCRIPTION_CHARS = 140  # of a commit status
TRUNCATION_NOTE = (
    "*The middle of this summary was left out: GitHub shows 65,535 characters at most.*"
)
MAX_PAGES = 10  # of the check runs of a commit that have our name

IN_PROGRESS = "The review is in progress"
WAITS = "The budget for Claude is used up, so the review waits until"
IS_DOWN = "Claude does not answer; the review is tried again by"
STATES: Mapping[Conclusion, str] = {
    "success": "success",
    "failure": "failure",
    "neutral": "error",  # a commit status has no `neutral`
    "cancelled": "error",
}


class GithubChecks:
    """Checks on commits of one repository. Each write calls the guard first; both functions may
    raise its errors.

    A check run is created once: if an earlier attempt may have created it, it is found by its
    external id.
    """

    def __init__(
        self,
        api: RepositoryApi,
        *,
        uses_check_runs: bool,
        name: str = CHECK_NAME,
    ) -> None:
        self._api = api
        self._uses_check_runs = uses_check_runs
        self._name = name

    def begin(
        self,
        check: CommitCheck,
        *,
        waits_until: datetime | None = None,
        is_claude_down: bool = False,
    ) -> WrittenCheck:
        """Show the check in progress. With `waits_until`, say why the next call to Claude waits
        until that time.
        """
        title = IN_PROGRESS
        if waits_until is not None:
            title = WAITS
            if is_claude_down:
                title = IS_DOWN
            title += f" {waits_until:%Y-%m-%d %H:%M} UTC"
        if not self._uses_check_runs:
            return self._set_status(check.commit, "pending", title)
        output = {"title": title, "summary": "The result appears here when the review has ended."}
        existing = self._find(check)
        if existing is None:
            return self._create(check, {"status": "in_progress", "output": output})
        if waits_until is None:
            return WrittenCheck(existing.id, existing.html_url or None)
        return self._update(existing.id, {"output": output})

    def end(self, check: CommitCheck, action: EnsureCheck) -> WrittenCheck:
        """End the check, which need not have begun. To repeat the call has no further effect."""
        if not self._uses_check_runs:
            state = STATES[action.conclusion]
            if action.is_exempt:
                state = "success"
            return self._set_status(check.commit, state, action.description)
        existing = self._find(check)
        sent = 0
        if existing is not None and action.annotations and not check.is_new:
            # GitHub adds the annotations of each request to those of earlier ones
            run_id = existing.id
            sent = self._api.read(lambda it: it.get_check_run(run_id).output.annotations_count or 0)
        check_run_id = None
        if existing is not None:
            check_run_id = existing.id
        batches = _split(action.annotations[sent:])
        for number, batch in enumerate(batches, start=1):
            body: dict[str, object] = {"status": "in_progress", "output": _output(action, batch)}
            if number == len(batches):
                body |= {"status": "completed", "conclusion": action.conclusion}
            if check_run_id is None:
                written = self._create(check, body)
                check_run_id = written.check_run_id
            else:
                written = self._update(check_run_id, body)
        return written

    def _find(self, check: CommitCheck) -> Written | None:
        if check.check_run_id is not None:
            return Written(check.check_run_id, "")
        if check.is_new:
            return None
        runs = self._api.items(
            lambda it: it.get_commit(check.commit).get_check_runs(
                check_name=self._name, filter="all"
            ),
            Written,
            max_pages=MAX_PAGES,
        )
        return next((run for run in runs if run.external_id == check.external_id), None)

    def _create(self, check: CommitCheck, fields: Mapping[str, Any]) -> WrittenCheck:
        run = self._api.write(
            lambda it: parse(
                Written,
                it.create_check_run(
                    self._name, check.commit, external_id=check.external_id, **fields
                ),
            ),
        )
        return WrittenCheck(run.id, run.html_url)

    def _update(self, number: int, fields: Mapping[str, Any]) -> WrittenCheck:
        def edit(repository: Repository) -> str:
            run = repository.get_check_run(number)
            run.edit(**fields)
            return run.html_url

        return WrittenCheck(number, self._api.write(edit))

    def _set_status(self, commit: str, state: str, description: str) -> WrittenCheck:
        text = _truncate(description, MAX_DESCRIPTION_CHARS)
        self._api.write(
            lambda it: it.get_commit(commit).create_status(
                state, description=text, context=self._name
            ),
        )
        return WrittenCheck(state=state)


def _split(annotations: Sequence[Annotation]) -> list[Sequence[Annotation]]:
    """Return at least one batch, which may be empty."""
    starts = range(0, max(len(annotations), 1), MAX_ANNOTATIONS)
    return [annotations[start : start + MAX_ANNOTATIONS] for start in starts]


def _output(action: EnsureCheck, batch: Sequence[Annotation]) -> dict[str, Any]:
    output: dict[str, Any] = {
        "title": _truncate(action.title, MAX_TITLE_CHARS),
        "summary": truncate_comment(action.summary, MAX_TEXT_CHARS, note=TRUNCATION_NOTE),
    }
    if batch:
        output["annotations"] = [
            {
                "path": annotation.path,
                "start_line": annotation.start_line,
                "end_line": annotation.end_line,
                "annotation_level": annotation.level,
                "title": _truncate(annotation.title, MAX_TITLE_CHARS),
                "message": _truncate(annotation.message, MAX_MESSAGE_CHARS),
            }
            for annotation in batch
        ]
    return output


def _truncate(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    return f"{text[: max_chars - 1]}…"
