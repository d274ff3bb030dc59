"""Handler for `/cherry-pick BRANCH`: says if a pull request applies to another branch, and suggests
resolutions.

Nothing is pushed. The change is computed in the mirror as one change, also if a rebase merged
several commits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from hls_handler.actions import Action
from hls_handler.analysis import Analysis, ConflictResolutions, Reply
from hls_handler.events import Event, PullRequest
from hls_handler.git.mirror import PickConflict
from hls_handler.handlers.handler import (
    Handler,
    SkipReason,
    answer,
    check_conversation,
    field_types,
    plan_comment,
)
from hls_handler.handlers.job import Conversation, Job, Result, Source
from hls_handler.handlers.reader import Reader
from hls_handler.prompting.prompt import diff_texts
from hls_handler.question import estimate_tokens
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
MAX_FILE_CHARACTERS, MAX_FILE_LINES = 100_000, 2_000  # a diff takes the square of the lines
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
class Hunk:
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
        "hunks": tuple[Hunk, ...],
    }
    comment_variable_types: Mapping[str, object] = {
        **field_types(CherryPickFacts, "pick"),
        "suggestions": tuple[Suggestion, ...],
    }

    def run(self, job: Job) -> Result:
        facts = job.record(CherryPickFacts, gather)
        number = facts.pull_request.number
        job.choose(Conversation(number, is_pull_request=True, may_be_closed=True))
        variables = self.variables(facts)
        shown = partial(list_comment_variables, facts)
        answered = answer(job, variables, shown, find_skip_reason(facts))
        return job.post(*plan(job.event, answered.analysis), reason=answered.reason)

    def variables(self, facts: CherryPickFacts) -> Mapping[str, object]:
        return {"pull_request": facts.pull_request, "hunks": list_hunks(facts.conflicts)}


def gather(source: Source) -> CherryPickFacts:
    """Read the pull request, and compute its change on the branch in the mirror."""
    event = source.event
    reader = source.reader
    assert event.issue is not None  # parse_event rejects a comment event without one
    assert event.comment is not None
    pull = reader.pull_request(event.issue.number)
    check_conversation(event, pull, may_be_closed=True)
    branch = read_command_line(event.comment.body)[1].partition(" ")[2]
    if not BRANCH.fullmatch(branch):
        return CherryPickFacts(
            pull,
            CherryPick(
                "", "the command needs the name of one branch: letters, digits and . _ / + -"
            ),
        )
    onto = reader.head_commit(branch)
    merge = reader.pull_request_document(pull.number).get("merge_commit_sha")
    if onto is None:
        return CherryPickFacts(
            pull, CherryPick(branch, "the repository has no branch of this name")
        )
    if (
        not isinstance(merge, str)
        or not COMMIT.fullmatch(merge)
        or (pull.state == "closed" and not pull.merged)
    ):
        return CherryPickFacts(
            pull, CherryPick(branch, "GitHub has no merge commit of the pull request")
        )
    files = reader.files_at(merge)
    if files.no_mirror:
        return CherryPickFacts(pull, CherryPick(branch, _describe_missing(files.no_mirror)))
    base, picked = _find_range(reader, pull, merge, files.parents())
    if base is None:
        return CherryPickFacts(pull, CherryPick(branch, picked))
    pick = files.cherry_pick(base, onto)
    if pick is None:
        return CherryPickFacts(pull, CherryPick(branch, _describe_missing(files.no_mirror)))
    shown = list[ConflictingFile]()
    left = source.limits.input_tokens
    for conflict in pick.conflicts:
        file = _choose_shown(conflict, sum(bool(one.code) for one in shown), left)
        left -= sum(estimate_tokens(hunk.code) for hunk in list_hunks((file,)))
        shown.append(file)
    return CherryPickFacts(pull, CherryPick(branch, "", picked, pick.is_empty), tuple(shown))


def find_skip_reason(facts: CherryPickFacts) -> SkipReason | None:
    """Return why Claude is not asked, with the reply in its place; None to ask."""
    if list_hunks(facts.conflicts):
        return None
    reason = "there is no conflict"
    if facts.conflicts:
        reason = "Claude can be shown no conflict"
    return SkipReason(facts.pick.problem or reason, ConflictResolutions(resolutions=[]))


def list_comment_variables(facts: CherryPickFacts, reply: Reply) -> Mapping[str, object]:
    return {"pick": facts.pick, "suggestions": suggest(facts.conflicts, reply)}


def plan(event: Event, analysis: Analysis) -> tuple[Action, ...]:
    assert event.comment is not None
    return plan_comment(analysis, f"{CherryPickHandler.family}-{event.comment.id}", create=True)


def list_hunks(conflicts: tuple[ConflictingFile, ...]) -> tuple[Hunk, ...]:
    """Return the conflicts that Claude is shown, numbered from 1."""
    hunks: list[Hunk] = []
    for file in conflicts:
        for index in range(1, len(file.code), 2):
            before = file.code[index - 1].splitlines(keepends=True)[-CONTEXT_LINES:]
            after = "".join(file.code[index + 1 : index + 2]).splitlines(keepends=True)[
                :CONTEXT_LINES
            ]
            hunks.append(
                Hunk(len(hunks) + 1, file.path, "".join((*before, file.code[index], *after)))
            )
    return tuple(hunks)


def suggest(conflicts: tuple[ConflictingFile, ...], reply: Reply) -> tuple[Suggestion, ...]:
    """Return the files with conflicts. One that the reply resolves as a whole has a patch."""
    assert isinstance(reply, ConflictResolutions)
    given = {one.number: one for one in reply.resolutions if not MARK.search(one.code)}
    found = list[Suggestion]()
    number = 0
    left = MAX_PATCH_CHARACTERS
    for file in conflicts:
        size = len(file.code) // 2
        chosen = [given[one] for one in range(number + 1, number + size + 1) if one in given]
        number += size
        patch = ""
        reason = file.unshown or "Claude did not resolve all of its conflicts"
        if size and len(chosen) == size:
            parts = list(file.code)
            parts[1::2] = [
                f"{one.code.removesuffix(chr(10))}\n" if one.code else "" for one in chosen
            ]
            patch = "\n".join(
                diff_texts((f"a/{file.path}", file.ours), (f"b/{file.path}", "".join(parts)))
            )
            reason = "" if patch else "the branch's file stays as it is"
        if len(patch) > left or sanitize_code_block(patch) != patch or REDACTION_MARKER in patch:
            patch = ""
            reason = "its patch is too long for a comment, or has text that HLS does not post"
        left -= len(patch)
        found.append(Suggestion(file.path, patch, reason, " ".join(one.why for one in chosen)))
    return tuple(found)


def _choose_shown(conflict: PickConflict, files: int, tokens: int) -> ConflictingFile:
    """Return the conflict with the texts that Claude is shown if `files` are shown before it and
    `tokens` are left.
    """
    shown = ConflictingFile(conflict.path, conflict.ours, conflict.parts, "")
    needed = sum(estimate_tokens(hunk.code) for hunk in list_hunks((shown,)))
    texts = (conflict.ours, "".join(conflict.parts))
    if len(conflict.parts) < 2:
        reason = "git names no lines of it, as of a deleted, renamed or binary file"
    elif files >= MAX_FILES:
        reason = f"Claude is shown {count(MAX_FILES, 'file')} at most"
    elif needed > tokens or any(
        len(one) > MAX_FILE_CHARACTERS or one.count("\n") > MAX_FILE_LINES for one in texts
    ):
        reason = "it is too long"
    elif not PLAIN_PATH.fullmatch(conflict.path) or any(
        "\ufffd" in text or clean_and_redact(CodeText(text)) != text for text in texts
    ):
        reason = "it has characters or text that HLS does not show Claude"
    else:
        return shown
    return ConflictingFile(conflict.path, "", (), reason)


def _find_range(
    reader: Reader, pull: PullRequest, merge: str, parents: tuple[str, ...]
) -> tuple[str | None, str]:
    """Return the commit before the change, and the arguments for `git cherry-pick`; or None and the
    problem.

    Commits that a rebase merged have the messages of the pull request's commits. A squash has a
    message of its own.
    """
    if len(parents) == 2:
        return parents[0], f"-m 1 {merge}"
    if len(parents) != 1:
        return None, "its merge commit has no parent"
    if pull.commits < 2:
        return parents[0], merge
    merged, own = (reader.commits_between(pull.base_sha, head) for head in (merge, pull.head_sha))
    if (
        not merged
        or not own
        or not merged.commits
        or not own.commits
        or merged.total > len(merged.commits)
    ):
        return None, "GitHub does not list its commits, or lists more than 250"
    rebased = merged.commits[-pull.commits :]
    if rebased[-1].message != own.commits[-1].message:
        return parents[0], merge
    if [one.message for one in rebased] != [one.message for one in own.commits]:
        return None, "the merged commits are not those of the pull request"
    before = reader.files_at(rebased[0].sha).parents()
    return (
        (before[0], f"{before[0]}..{merge}")
        if len(before) == 1
        else (None, "its first commit has no parent")
    )


def _describe_missing(reason: str) -> str:
    return (
        f"HLS needs git and its mirror of the repository (mirror.enabled in its settings): {reason}"
    )
