"""Handler for `/cherry-pick BRANCH`: says if a pull request applies to another branch, and suggests
resolutions.

Nothing is pushed. The change is computed in the mirror as one change, also if a rebase merged
several commits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from hls_handler.actions import Action
from hls_handler.analysis import Analysis, ConflictResolutions, ReplyFields, estimate_tokens
from hls_handler.deliveries import End
from hls_handler.events import Event, PullRequest
from hls_handler.git.mirror import PickConflict
from hls_handler.github.reader import GithubReader
from hls_handler.handlers.handler import (
    Handler,
    SkipReason,
    answer,
    check_conversation,
    field_types,
    plan_comment,
)
from hls_handler.handlers.job import Conversation, FactSource, Job
from hls_handler.prompting.prompt import diff_texts
from hls_handler.untrusted.cleaning import CodeText, clean_and_redact
from hls_handler.untrusted.command_line import read_command_line
from hls_handler.untrusted.markdown import sanitize_code_block
from hls_handler.untrusted.suggestions import REDACTION_MARKER
from hls_handler.wording import count

CHERRY_PICK = "cherry_pick"
"""Stands for an event's name: GitHub sends the command as a comment."""

BRANCH = re.compile(
    r"(?!.*(?:\.\.|//|/\.|\.lock(?:/|$)))[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}(?<![./])", re.ASCII
)
"""Names of branches that git accepts and that a shell does not interpret (`git check-ref-format`
permits others).
"""
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
MARK = re.compile(r"^(?:<{7}|>{7}|={7}$|\|{7})", re.MULTILINE)
PLAIN_PATH = re.compile(r'[^\x00-\x1f"\\\x7f-\U0010ffff]+')  # that git does not quote in a patch

MAX_FILES = 5  # of which Claude is shown the conflicts
MAX_FILE_CHARACTERS = 100_000
MAX_FILE_LINES = 2_000  # a diff takes the square of the lines
MAX_PATCH_CHARACTERS = 40_000  # of all patches in a comment
CONTEXT_LINES = 20  # before and after each conflict


@dataclass(frozen=True, slots=True)
class ConflictingFile:
    path: str
    ours: str  # on the branch; "" if Claude is not shown the file
    # parts of the merged file: those with odd indexes are conflicts; () as above
    code: tuple[str, ...]
    unshown: str  # why Claude is not shown the file; "" if it is


@dataclass(frozen=True, slots=True)
class CherryPick:
    branch: str  # "" if the command names none
    problem: str  # why nothing was computed; "" if it was
    picked: str = ""  # the arguments for `git cherry-pick`: "-m 1 COMMIT"
    is_empty: bool = False  # True: the branch has the change already


@dataclass(frozen=True, slots=True)
class CherryPickFacts:
    pull_request: PullRequest
    pick: CherryPick
    conflicts: tuple[ConflictingFile, ...] = ()


@dataclass(frozen=True, slots=True)
class ConflictHunk:
    """A conflict with the lines around it."""

    number: int
    path: str
    code: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A file with conflicts, and the patch that makes of the branch's file the one with the
    change.
    """

    path: str
    patch: str  # "" if there is none
    reason: str  # why there is no patch; "" if there is one
    why: str  # Claude's reasons


class CherryPickHandler(Handler):
    family = "cherry_picks"
    prompt = "cherry_picks/resolve"
    replies = frozenset({"conflict_resolutions"})
    facts_type = CherryPickFacts
    variable_types: Mapping[str, object] = {
        **field_types(CherryPickFacts, "pull_request"),
        "hunks": tuple[ConflictHunk, ...],
    }
    comment_variable_types: Mapping[str, object] = {
        **field_types(CherryPickFacts, "pick"),
        "suggestions": tuple[Suggestion, ...],
    }

    def run(self, job: Job) -> End:
        facts = job.record(CherryPickFacts, gather)
        number = facts.pull_request.number
        job.choose(Conversation(number, is_pull_request=True, may_be_closed=True))
        variables = self.variables(facts)
        list_variables = partial(list_comment_variables, facts)
        answered = answer(job, variables, list_variables, find_skip_reason(facts))
        return job.post(*plan(job.event, answered.analysis), reason=answered.reason)

    def variables(self, facts: CherryPickFacts) -> Mapping[str, object]:
        return {"pull_request": facts.pull_request, "hunks": list_hunks(facts.conflicts)}


def gather(source: FactSource) -> CherryPickFacts:
    """Read the pull request, and compute its change on the branch in the mirror."""
    event = source.event
    assert event.conversation is not None  # parse_event rejects a comment event without one
    assert event.comment is not None
    pull = source.reader.pull_request(event.conversation.number)
    check_conversation(event, pull, may_be_closed=True)
    branch = read_command_line(event.comment.body)[1].partition(" ")[2]
    if not BRANCH.fullmatch(branch):
        problem = "the command needs the name of one branch: letters, digits and . _ / + -"
        return CherryPickFacts(pull, CherryPick("", problem))
    try:
        return _pick(source, pull, branch)
    except _NotPicked as exc:
        return CherryPickFacts(pull, CherryPick(branch, str(exc)))


class _NotPicked(Exception):
    """The pick was not computed; the message is `CherryPick.problem`."""


def _pick(source: FactSource, pull: PullRequest, branch: str) -> CherryPickFacts:
    reader = source.reader
    onto = reader.head_commit(branch)
    merge = reader.pull_request_document(pull.number).get("merge_commit_sha")
    if onto is None:
        raise _NotPicked("the repository has no branch of this name")
    is_unmerged = pull.state == "closed" and not pull.merged
    if is_unmerged or not isinstance(merge, str) or not COMMIT.fullmatch(merge):
        raise _NotPicked("GitHub has no merge commit of the pull request")
    files = reader.files_at(merge)
    if files.no_mirror:
        raise _NotPicked(f"{NEEDS_MIRROR}: {files.no_mirror}")
    change = _find_change(reader, pull, merge, files.parents())
    pick = files.cherry_pick(change.base, onto)
    if pick is None:
        raise _NotPicked(f"{NEEDS_MIRROR}: {files.no_mirror}")
    conflicting: list[ConflictingFile] = []
    free_tokens = source.limits.input_tokens
    for conflict in pick.conflicts:
        file = _choose_shown(
            conflict, sum(bool(chosen.code) for chosen in conflicting), free_tokens
        )
        free_tokens -= _count_tokens(file)
        conflicting.append(file)
    picked = CherryPick(branch, "", change.arguments, pick.is_empty)
    return CherryPickFacts(pull, picked, tuple(conflicting))


NEEDS_MIRROR = "HLS needs git and its mirror of the repository (mirror.enabled in its settings)"


def find_skip_reason(facts: CherryPickFacts) -> SkipReason | None:
    """Return why Claude is not asked, with the reply in its place; None to ask."""
    if list_hunks(facts.conflicts):
        return None
    reason = "there is no conflict"
    if facts.conflicts:
        reason = "Claude can be shown no conflict"
    return SkipReason(facts.pick.problem or reason, ConflictResolutions(resolutions=[]))


def list_comment_variables(facts: CherryPickFacts, reply: ReplyFields) -> Mapping[str, object]:
    return {"pick": facts.pick, "suggestions": suggest(facts.conflicts, reply)}


def plan(event: Event, analysis: Analysis) -> tuple[Action, ...]:
    assert event.comment is not None
    return plan_comment(analysis, f"{CherryPickHandler.family}-{event.comment.id}", create=True)


def list_hunks(conflicts: tuple[ConflictingFile, ...]) -> tuple[ConflictHunk, ...]:
    """Return the conflicts that Claude is shown, numbered from 1."""
    hunks: list[ConflictHunk] = []
    for file in conflicts:
        for index in range(1, len(file.code), 2):
            before = file.code[index - 1].splitlines(keepends=True)[-CONTEXT_LINES:]
            after = "".join(file.code[index + 1 : index + 2]).splitlines(keepends=True)
            code = "".join((*before, file.code[index], *after[:CONTEXT_LINES]))
            hunks.append(ConflictHunk(len(hunks) + 1, file.path, code))
    return tuple(hunks)


def _count_tokens(file: ConflictingFile) -> int:
    return sum(estimate_tokens(hunk.code) for hunk in list_hunks((file,)))


def suggest(conflicts: tuple[ConflictingFile, ...], reply: ReplyFields) -> tuple[Suggestion, ...]:
    """Return the files with conflicts. One that the reply resolves as a whole has a patch."""
    assert isinstance(reply, ConflictResolutions)
    resolutions = {
        resolution.number: resolution
        for resolution in reply.resolutions
        if not MARK.search(resolution.code)
    }
    suggestions: list[Suggestion] = []
    number = 0
    free_characters = MAX_PATCH_CHARACTERS
    for file in conflicts:
        size = len(file.code) // 2
        chosen = [
            resolutions[resolution]
            for resolution in range(number + 1, number + size + 1)
            if resolution in resolutions
        ]
        number += size
        patch = ""
        reason = file.unshown or "Claude did not resolve all of its conflicts"
        if size and len(chosen) == size:
            patch = _make_patch(file, [resolution.code for resolution in chosen])
            reason = ""
            if not patch:
                reason = "the branch's file stays as it is"
        if (
            len(patch) > free_characters
            or sanitize_code_block(patch) != patch
            or REDACTION_MARKER in patch
        ):
            patch = ""
            reason = "its patch is too long for a comment, or has text that HLS does not post"
        free_characters -= len(patch)
        suggestions.append(
            Suggestion(file.path, patch, reason, " ".join(resolution.why for resolution in chosen))
        )
    return tuple(suggestions)


def _make_patch(file: ConflictingFile, resolutions: Iterable[str]) -> str:
    parts = list(file.code)
    # an empty resolution removes the lines
    parts[1::2] = [code and f"{code.removesuffix(chr(10))}\n" for code in resolutions]
    before = (f"a/{file.path}", file.ours)
    return "\n".join(diff_texts(before, (f"b/{file.path}", "".join(parts))))


def _choose_shown(conflict: PickConflict, files: int, tokens: int) -> ConflictingFile:
    """Return the conflict with the texts that Claude is shown if `files` are shown before it and
    `tokens` are left.
    """
    file = ConflictingFile(conflict.path, conflict.ours, conflict.parts, "")
    texts = (conflict.ours, "".join(conflict.parts))
    if len(conflict.parts) < 2:
        reason = "git names no lines of it, as of a deleted, renamed or binary file"
    elif files >= MAX_FILES:
        reason = f"Claude is shown {count(MAX_FILES, 'file')} at most"
    elif _count_tokens(file) > tokens or any(map(_is_too_long, texts)):
        reason = "it is too long"
    elif not PLAIN_PATH.fullmatch(conflict.path) or not all(map(_is_shown_as_it_is, texts)):
        reason = "it has characters or text that HLS does not show Claude"
    else:
        return file
    return ConflictingFile(conflict.path, "", (), reason)


def _is_too_long(text: str) -> bool:
    return len(text) > MAX_FILE_CHARACTERS or text.count("\n") > MAX_FILE_LINES


def _is_shown_as_it_is(text: str) -> bool:
    return "\ufffd" not in text and clean_and_redact(CodeText(text)) == text


@dataclass(frozen=True, slots=True)
class _Change:
    base: str  # the commit before it
    arguments: str  # for `git cherry-pick`


def _find_change(
    reader: GithubReader, pull: PullRequest, merge: str, parents: tuple[str, ...]
) -> _Change:
    """Return the change of a merged pull request. Raises `_NotPicked`.

    Commits that a rebase merged have the messages of the pull request's commits. A squash has a
    message of its own.
    """
    if len(parents) == 2:
        return _Change(parents[0], f"-m 1 {merge}")
    if len(parents) != 1:
        raise _NotPicked("its merge commit has no parent")
    squashed = _Change(parents[0], merge)
    if pull.commits < 2:
        return squashed
    merged = reader.commits_between(pull.base_sha, merge)
    comparison = reader.commits_between(pull.base_sha, pull.head_sha)
    unlisted = "GitHub does not list its commits, or lists more than 250"
    if merged is None or comparison is None or not merged.commits or not comparison.commits:
        raise _NotPicked(unlisted)
    if merged.total > len(merged.commits):
        raise _NotPicked(unlisted)
    rebased = merged.commits[-pull.commits :]
    if rebased[-1].message != comparison.commits[-1].message:
        return squashed
    if [commit.message for commit in rebased] != [commit.message for commit in comparison.commits]:
        raise _NotPicked("the merged commits are not those of the pull request")
    before = reader.files_at(rebased[0].sha).parents()
    if len(before) != 1:
        raise _NotPicked("its first commit has no parent")
    return _Change(before[0], f"{before[0]}..{merge}")
