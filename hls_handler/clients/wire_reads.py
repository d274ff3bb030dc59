"""Wire format of GitHub's responses to reads of objects that webhooks do not contain."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Base64Bytes, BaseModel, BeforeValidator, ConfigDict

from hls_handler.events import Text, UtcTime, WireAccount
from hls_handler.handlers.reader import (
    ChangedFile,
    Commit,
    Comparison,
    FileAtRef,
    ReviewComment,
    WorkflowJob,
    WorkflowStep,
)


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class WireChangedFile(_Wire):
    filename: str
    previous_filename: str | None = None
    status: str
    additions: int = 0
    deletions: int = 0
    patch: str | None = None

    def value(self) -> ChangedFile:
        return ChangedFile(
            path=self.filename,
            previous_path=self.previous_filename,
            status=self.status,
            additions=self.additions,
            deletions=self.deletions,
            patch=self.patch,
        )


class WireReviewComment(_Wire):
    path: str
    side: str | None = None
    line: int | None = None
    original_line: int | None = None
    diff_hunk: Text = ""
    body: Text = ""
    in_reply_to_id: int | None = None

    def value(self) -> ReviewComment:
        line = self.line if self.original_line is None else self.original_line
        return ReviewComment(
            path=self.path,
            side=self.side,
            line=line,
            hunk=self.diff_hunk,
            body=self.body,
            is_reply=self.in_reply_to_id is not None,
        )


class _WireStep(_Wire):
    number: int
    name: Text = ""
    conclusion: str | None = None
    started_at: UtcTime | None = None
    completed_at: UtcTime | None = None

    def value(self) -> WorkflowStep:
        return WorkflowStep(
            number=self.number,
            name=self.name,
            conclusion=self.conclusion,
            started_at=self.started_at,
            completed_at=self.completed_at,
        )


class WireJob(_Wire):
    id: int
    name: Text = ""
    conclusion: str | None = None
    run_attempt: int = 1
    html_url: Text = ""
    steps: tuple[_WireStep, ...] | None = None

    def value(self) -> WorkflowJob:
        return WorkflowJob(
            id=self.id,
            name=self.name,
            conclusion=self.conclusion,
            attempt=self.run_attempt,
            html_url=self.html_url,
            steps=tuple(step.value() for step in self.steps or ()),
        )


class WireContent(_Wire):
    """For a file of more than 1 MB, `encoding` is "none" and there is no content."""

    type: Literal["file", "symlink", "submodule"]
    sha: str
    encoding: str | None = None
    content: Base64Bytes | None = None

    def value(self) -> FileAtRef:
        return FileAtRef(self.type, self.sha, self.content if self.encoding == "base64" else None)


class _WireGitAuthor(_Wire):
    name: Text = ""


class _WireGitCommit(_Wire):
    message: Text = ""
    author: _WireGitAuthor | None = None


def _none_if_empty(value: object) -> object:
    """GitHub sends null or an empty object for a commit whose author has no account."""
    return value or None


class _WireCommit(_Wire):
    sha: str
    commit: _WireGitCommit
    author: Annotated[WireAccount | None, BeforeValidator(_none_if_empty)] = None

    def value(self) -> Commit:
        author = self.author.login if self.author else (self.commit.author or _WireGitAuthor()).name
        return Commit(sha=self.sha, message=self.commit.message, author=author)


class WireComparison(_Wire):
    total_commits: int
    commits: tuple[_WireCommit, ...]

    def value(self) -> Comparison:
        return Comparison(total=self.total_commits, commits=tuple(commit.value() for commit in self.commits))
