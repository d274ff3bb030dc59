"""Reads facts from the stand-in GitHub without HTTP, for `hls render` and for sample values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import TypeAdapter

from hls_handler.clients.reader import WireContent
from hls_handler.clients.review_context import (
    MAX_HEAD_FILES,
    WireContext,
    WireHeadFiles,
    context_variables,
)
from hls_handler.clients.review_threads import WireData
from hls_handler.errors import Permanent
from hls_handler.events import Account, Comment, Issue, PullRequest, Release, Review
from hls_handler.handlers.reader import (
    ChangedFile,
    Comparison,
    FileAtRef,
    NoLog,
    RepositoryLabel,
    RepositoryPermission,
    ReviewComment,
    ReviewContext,
    WorkflowJob,
)
from hls_handler.review.record import ReviewThread
from hls_handler.sandbox import objects, repository_shapes, review_calls, shapes
from hls_handler.sandbox.objects import Conversation
from hls_handler.sandbox.state import State

_ISSUE, _PULL_REQUEST, _COMMENT = TypeAdapter(Issue), TypeAdapter(PullRequest), TypeAdapter(Comment)
_REVIEW, _RELEASE = TypeAdapter(Review), TypeAdapter(Release)
_FILE, _REVIEW_COMMENT = TypeAdapter(ChangedFile), TypeAdapter(ReviewComment)
_JOB, _COMPARISON = TypeAdapter(WorkflowJob), TypeAdapter(Comparison)


class SandboxReader:
    """Implements `handlers.reader.Reader` for one repository of the stand-in GitHub."""

    def __init__(self, state: State, repository: str) -> None:
        self._state = state
        self._repository = repository

    def issue(self, number: int) -> Issue:
        conversation = self._conversation(number)
        return _ISSUE.validate_python({**conversation.document, "labels": _labels(conversation)})

    def pull_request(self, number: int) -> PullRequest:
        conversation = self._pull(number)
        return _PULL_REQUEST.validate_python({**conversation.document, "labels": _labels(conversation)})

    def pull_request_document(self, number: int) -> dict[str, object]:
        conversation, home = self._pull(number), self._state.repository(self._repository)
        assert home is not None  # it has a conversation
        return shapes.pull_request(conversation, home)

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        return tuple(map(_FILE.validate_python, self._pull(number).files))

    def reviews(self, number: int) -> tuple[Review, ...]:
        conversation = self._pull(number)
        documents = (
            shapes.review(conversation, review, self._state.association(self._repository, review.author.login))
            for review in conversation.reviews
        )
        return tuple(_REVIEW.validate_python(document) for document in documents)

    def review_comments(self, number: int, review_id: int) -> tuple[ReviewComment, ...]:
        return tuple(map(_REVIEW_COMMENT.validate_python, self._review(number, review_id)[1].comments))

    def review_threads(self, number: int) -> tuple[ReviewThread, ...]:
        me = self._state.me
        data = WireData.model_validate(review_calls.review_threads(self._pull(number), after=0, most=None))
        return tuple(data.own_threads(Account(me.login, me.id, me.type)))

    def review_context(self, number: int, base_ref: str, *, guidance: bool, linked_issues: bool) -> ReviewContext:
        variables = context_variables(
            self._repository, number, base_ref, guidance=guidance, linked_issues=linked_issues
        )
        return WireContext.model_validate(
            review_calls.review_context(self._state, self._pull(number), variables)
        ).value()

    def head_files(self, sha: str, paths: Sequence[str]) -> Mapping[str, str]:
        first = tuple(paths[:MAX_HEAD_FILES])
        found = review_calls.head_files(self._state, self._repository, [f"{sha}:{path}" for path in first])
        return WireHeadFiles.model_validate(found).texts(first)

    def permission(self, login: str) -> RepositoryPermission:
        return self._state.permission(self._repository, login) or "none"

    def comments(self, number: int, *, most: int) -> tuple[Comment, ...]:
        conversation = self._conversation(number)
        documents = (
            shapes.comment(conversation, one, self._state.association(self._repository, one.author.login))
            for one in conversation.comments[max(len(conversation.comments) - most, 0) :]
        )
        return tuple(_COMMENT.validate_python(document) for document in documents)

    def jobs(self, run_id: int, attempt: int) -> tuple[WorkflowJob, ...]:
        run = self._state.run(self._repository, run_id)
        found = run.attempt(attempt) if run else None
        if run is None or found is None:
            raise Permanent(
                f"{self._repository} has no attempt {attempt} of run {run_id} in the sandbox: send its event first"
            )
        documents = (repository_shapes.job(run, job) for job in found.jobs)
        return tuple(_JOB.validate_python(document) for document in documents)

    def job_log(self, job_id: int) -> Iterator[str] | NoLog:
        found = self._state.find_job(self._repository, job_id)
        log = found[2].log if found else None
        if not log:
            return NoLog("expired" if log is None else "empty")
        return iter(log.removesuffix("\n").split("\n"))

    def pull_requests_from(self, head: str) -> tuple[PullRequest, ...]:
        here = (
            conversation
            for conversation in self._state.conversations()
            if conversation.repository.lower() == self._repository.lower()
        )
        numbers = sorted((pull.number for pull in here if pull.is_open_from(head)), reverse=True)
        found = (self.pull_request(number) for number in numbers)  # GitHub's list omits the counts
        return tuple(
            replace(pull, additions=0, deletions=0, changed_files=0, commits=0, comments=None) for pull in found
        )

    def releases(self) -> tuple[Release, ...]:
        documents = (repository_shapes.release(one) for one in self._state.releases(self._repository)[:100])
        return tuple(_RELEASE.validate_python(document) for document in documents)

    def commits_between(self, base: str, head: str) -> Comparison | None:
        world = self._state.world
        compared = world.compared(self._repository, base, head)
        if compared is None:
            return None
        documents = (repository_shapes.commit(self._repository, one, world.accounts) for one in compared.commits[:250])
        document = {"total_commits": len(compared.commits), "commits": list(documents)}
        return _COMPARISON.validate_python(document)

    def labels(self) -> tuple[RepositoryLabel, ...]:
        home = self._state.repository(self._repository)
        return (
            tuple(RepositoryLabel(label.name, label.description or "") for label in home.labels.values())
            if home
            else ()
        )

    def find_file(self, path: str, *, ref: str | None) -> FileAtRef | None:
        world = self._state.world
        home = world.repository(self._repository)
        branch = ref or (home.default_branch if home else "")
        text = world.file_at(self._repository, branch, path)
        if text is None:
            return None
        document = repository_shapes.content(self._repository, branch, path, text)
        return WireContent.model_validate(document).value()

    def _conversation(self, number: int) -> Conversation:
        conversation = self._state.conversation(self._repository, number)
        if conversation is None or conversation.gone:
            raise Permanent(f"{self._repository}#{number} is not in the sandbox: send its event first")
        return conversation

    def _review(self, number: int, review_id: int) -> tuple[Conversation, objects.Review]:
        conversation = self._pull(number)
        review = conversation.review(review_id)
        if review is None:
            raise Permanent(f"{conversation.key} has no review {review_id} in the sandbox: send its event first")
        return conversation, review

    def _pull(self, number: int) -> Conversation:
        conversation = self._conversation(number)
        if conversation.kind != "pull":
            raise Permanent(f"{self._repository}#{number} is an issue, not a pull request")
        return conversation


def _labels(conversation: Conversation) -> list[dict[str, str]]:
    return [{"name": name} for name in conversation.labels]
