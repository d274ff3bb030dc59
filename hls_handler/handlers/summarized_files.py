"""The sentences about changed files in the comment on a pull request (`comments.files`).

A later review gives sentences only about files that it reads again. The other sentences are stored with the comment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pydantic import TypeAdapter

from hls_handler.actions import EnsureComment
from hls_handler.analysis import MAX_FILE_SUMMARIES, FileSummary, Reply, file_summaries_of
from hls_handler.handlers.handler import PromptLimits, parse_comment_state
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.reader import RepositoryHistory

_STATE = TypeAdapter(tuple[FileSummary, ...])


def recall(
    limits: PromptLimits, history: RepositoryHistory, number: int, family: str
) -> tuple[FileSummary, ...] | None:
    """Return the sentences that the comment has now; None if the settings ask for no sentences."""
    return parse_comment_state(_STATE, history.comment_state(number, family)) if limits.sums_up_files else None


def count_asked(facts: PullRequestFacts) -> int:
    """Return the number of a call's files, from the first, that get a sentence in its reply."""
    before = {part.file for call in facts.selection.calls[: facts.call or 0] for part in call}
    return 0 if facts.file_summaries is None else min(len(facts.files), max(MAX_FILE_SUMMARIES - len(before), 0))


def list_all(facts: PullRequestFacts, reply: Reply | None) -> tuple[FileSummary, ...]:
    """Return a sentence about each file, the most important first; the earlier one if `reply` has none."""
    if facts.file_summaries is None:
        return ()
    by_path = {one.path: one for one in (*facts.file_summaries, *file_summaries_of(reply))}
    return tuple(by_path[file.path] for file in facts.selection.files if file.path in by_path)[:MAX_FILE_SUMMARIES]


def keep(comments: Iterable[EnsureComment], facts: PullRequestFacts, reply: Reply | None) -> Iterator[EnsureComment]:
    """Yield the actions, with the sentences as state of their comment, so that they are stored."""
    state = None if facts.file_summaries is None else _STATE.dump_json(list_all(facts, reply)).decode()
    yield from (replace(comment, state=state) for comment in comments)
