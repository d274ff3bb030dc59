"""Facts from the sandbox's state without HTTP: the Reader of `render` and `check`."""

from __future__ import annotations

from hls_handler.errors import Permanent
from hls_handler.events import Issue, PullRequest, Review, WireIssue, WirePullRequest, WireReview
from hls_handler.handlers.reader import ChangedFile, ReviewComment
from hls_handler.sandbox import shapes, world
from hls_handler.sandbox.state import State
from hls_handler.sandbox.world import Thread


class SandboxReader:
    """Implements `handlers.reader.Reader` for one repository of the state."""

    def __init__(self, state: State, repository: str) -> None:
        self._state = state
        self._repository = repository

    def issue(self, number: int) -> Issue:
        thread = self._thread(number)
        return WireIssue.model_validate({**thread.document, "labels": _labels(thread)}).value()

    def pull_request(self, number: int) -> PullRequest:
        thread = self._pull(number)
        return WirePullRequest.model_validate({**thread.document, "labels": _labels(thread)}).as_pull_request()

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        return tuple(
            ChangedFile(
                path=file["filename"],
                previous_path=file.get("previous_filename"),
                status=file["status"],
                additions=file["additions"],
                deletions=file["deletions"],
                patch=file.get("patch"),
            )
            for file in self._pull(number).files
        )

    def reviews(self, number: int) -> tuple[Review, ...]:
        thread = self._pull(number)
        told = (
            shapes.review(thread, review, self._state.association(self._repository, review.author.login))
            for review in thread.reviews
        )
        return tuple(WireReview.model_validate(document).value() for document in told)

    def review_comments(self, number: int, review_id: int) -> tuple[ReviewComment, ...]:
        return tuple(
            ReviewComment(
                path=comment["path"],
                side=comment.get("side"),
                line=comment.get("original_line", comment.get("line")),
                hunk=comment["diff_hunk"],
                body=comment["body"],
                is_reply=comment.get("in_reply_to_id") is not None,
            )
            for comment in self._review(number, review_id)[1].comments
        )

    def _thread(self, number: int) -> Thread:
        thread = self._state.thread(self._repository, number)
        if thread is None or thread.gone:
            raise Permanent(f"{self._repository}#{number} is not in the sandbox: plant its event first")
        return thread

    def _review(self, number: int, review_id: int) -> tuple[Thread, world.Review]:
        thread = self._pull(number)
        review = thread.review(review_id)
        if review is None:
            raise Permanent(f"{thread.key} has no review {review_id} in the sandbox: plant its event first")
        return thread, review

    def _pull(self, number: int) -> Thread:
        thread = self._thread(number)
        if thread.kind != "pull":
            raise Permanent(f"{self._repository}#{number} is an issue, not a pull request")
        return thread


def _labels(thread: Thread) -> list[dict[str, str]]:
    return [{"name": name} for name in thread.labels]
