"""Differences between a delivery of a batch and one of a webhook. If its result is only recorded, a
prompt of the batch is asked about the event, and nothing is written to GitHub.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from typing import Any, Literal

from pydantic import TypeAdapter

from hls_handler.analysis import Severity
from hls_handler.batches.recording_job import RecordingJob, read_facts
from hls_handler.batches.undo import undo_issue
from hls_handler.deliveries import NO_RESULT, RECORDED, End
from hls_handler.engine.asking import Questions, prompt_limits
from hls_handler.engine.codecs import SETTINGS_FILE, Codec, facts_codec
from hls_handler.engine.job import BatchRuns, DeliveryJob, require_open
from hls_handler.errors import ConversationIgnored, Permanent, PromptError
from hls_handler.events import Event, PullRequest
from hls_handler.github.reader import GithubReader
from hls_handler.github.source import read_optional
from hls_handler.github.values import permalink
from hls_handler.handlers.handler import common_variables
from hls_handler.handlers.job import FactSource
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.prompting.library import restore_library
from hls_handler.prompting.prompt import Library, PromptSources
from hls_handler.review.patches import parse_patch
from hls_handler.review.record import LedgerEntry
from hls_handler.settings.effective import EffectiveSettings, apply_repository_settings
from hls_handler.settings.model import Settings

PROMPTS = "prompts"
"""Key of the prompts in a batch's plan."""


@dataclass(frozen=True, slots=True)
class BatchPrompt:
    """A prompt as a batch asks it, whatever its files contain later."""

    name: str
    title: str  # "issues/analyze@3b4b87", or "issues/analyze@3b4b87 with claude-haiku-4-5"
    sources: PromptSources
    model: str | None = None  # in place of its own
    second_look: PromptSources | None = None  # at the findings of its reply

    def restore(self) -> Library:
        """Return a library of this prompt. Its follow-up prompts are not asked."""
        library = restore_library(*filter(None, (self.sources, self.second_look)))
        prompts = {
            name: replace(prompt, then=None, model=self.model or prompt.model)
            for name, prompt in library.prompts.items()
        }
        return replace(library, prompts=prompts)


_PROMPTS = TypeAdapter(tuple[BatchPrompt, ...])


def dump_prompts(prompts: Sequence[BatchPrompt]) -> object:
    return _PROMPTS.dump_python(tuple(prompts), mode="json")


def load_prompts(plan: Mapping[str, Any]) -> Sequence[BatchPrompt]:
    return _PROMPTS.validate_python(plan[PROMPTS])


ChangeState = Literal["before the merge", "later", "no", "not known"]


@dataclass(frozen=True, slots=True)
class LineChange:
    """State of the line of a finding after the commit that was reviewed."""

    state: ChangeState
    commit: str = ""  # that changed it; "" if it is not known
    why: str = ""  # why the change, or its commit, is not known


@dataclass(frozen=True, slots=True)
class RecordedFinding:
    severity: Severity
    path: str
    line: int | None  # None: it belongs to the file
    title: str
    failure: str  # the first sentence of its text
    url: str  # of its line in the commit that was reviewed
    change: LineChange


FINDINGS = Codec("recorded_findings", 1, TypeAdapter(tuple[RecordedFinding, ...]))
NOT_READ = "changes not read"
"""`End.kind` of a review some of whose lines could not be followed: `continue` does that again."""


END_OF_SENTENCE = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z`])|\n\s*\n")
GONE = re.compile(r"@@ -\S+ \+0,0 @@")


def find_index(request_id: str) -> int:
    """Return the index of the prompt that a recorded delivery asks."""
    return int(request_id.removeprefix(RECORDED))


def run_recorded(job: DeliveryJob) -> End:
    """Ask the prompt about the event. Its reply is stored with its call, and nothing else."""
    batch = job.batch
    assert batch is not None
    prompt = load_prompts(batch.plan)[find_index(job.lease.request_id)]
    library = prompt.restore()
    files = [SETTINGS_FILE.decode(job.steps.get((SETTINGS_FILE.name, index))) for index in range(2)]
    effective = apply_repository_settings(
        job.rule.effective, *(file.settings for file in files if file is not None)
    )
    job = replace(
        job,
        rule=replace(job.rule, prompt=prompt.name, effective=effective),
        config=replace(job.config, library=library),
    )
    name = job.handler.name
    unread = ""
    try:
        require_open(batch)
        with job.record_failure("analysis"):
            unread = _ask(job)
    except ConversationIgnored as exc:
        return End("ignored", str(exc), kind=exc.kind, handler=name)
    except (Permanent, PromptError) as exc:
        return End("ignored", str(exc), kind=NO_RESULT, handler=name)
    if unread:
        reason = f"recorded; whether lines were changed later is not known: {unread}"
        return End("done", reason, kind=NOT_READ, handler=name)
    return End("done", "recorded; nothing was written", handler=name)


def _ask(job: DeliveryJob) -> str:
    """Return why the lines of findings could not be followed; "" if they could, or need not be."""
    event = job.event
    name = job.rule.prompt
    codec = facts_codec(job.handler.facts_type)
    facts = job.run_step(codec, 0, lambda: read_facts(job.handler, _open_source(job)))
    recording = RecordingJob(
        event,
        job.rule,
        job.config.library,
        common_variables(event, name, job.rule.effective),
        Questions(job).ask,
        comments=None,
        facts=facts,
    )
    if job.batch is None or job.batch.kind != "reviews":
        recording.run(job.handler)
        return ""
    source = _open_source(job)
    recording.source = source
    recording.run(job.handler)
    assert recording.record_of_review is not None
    ledger = recording.record_of_review.ledger
    read = read_optional(lambda: _read_changes(source, ledger), _Changes(""))
    changes = read.value
    if read.problem:
        changes = replace(changes, unread=read.problem)
    findings = tuple(_to_finding(source, changes, entry) for entry in ledger)
    job.add(FINDINGS, findings)
    unread = [finding.change.why for finding in findings if finding.change.state == "later"]
    return changes.unread or next(filter(None, unread), "")


def _open_source(job: DeliveryJob) -> FactSource:
    job.require_reads_allowed()
    reader = job.context.github.reader(job.event.repository.full_name, bot=job.bot)
    config = job.config
    return make_source(
        job.event, reader, config.settings, config.library, job.rule.effective, job.rule.prompt
    )


def make_source(
    event: Event,
    reader: GithubReader,
    settings: Settings,
    library: Library,
    effective: EffectiveSettings,
    prompt: str,
) -> FactSource:
    """Return the source of the facts of an event as it was: not what GitHub shows now, without
    documentation and similar issues, of which only those of now are known, and without what HLS has
    stored.
    """
    limits = prompt_limits(settings, library, event.name, effective, prompt)
    review = limits.review.model_copy(update={"merge_state": False})
    limits = replace(
        limits, documents=False, similar=False, reviewers=False, review=review, is_past=True
    )
    return FactSource(replace(event, is_recent=True), reader, EMPTY_HISTORY, limits)


@dataclass(frozen=True, slots=True)
class _Changes:
    """The lines of the reviewed commit that later commits do not have: (path, number)."""

    merge_commit: str
    before_merge: Set[tuple[str, int]] = frozenset()
    until_now: Set[tuple[str, int]] = frozenset()
    gone_before_merge: Set[str] = frozenset()  # paths of files
    gone_now: Set[str] = frozenset()
    unread: str = ""  # why they are not known


def _read_changes(source: FactSource, ledger: Sequence[LedgerEntry]) -> _Changes:
    """Compare the reviewed commit with the merge commit, and with the branch's present head."""
    document = _get_document(source)
    merge_commit = str(document["merge_commit_sha"] or "")
    paths = {entry.path for entry in ledger}
    if not paths:
        return _Changes(merge_commit)
    present = source.reader.head_commit(_get_pull_request(source).base_ref)
    removed: list[Set[tuple[str, int]]] = []
    gone: list[Set[str]] = []
    for commit in (merge_commit, present):
        if not commit:
            return _Changes(merge_commit, unread="the branch or the merge commit is gone")
        patches = _read_patches(source, commit, paths)
        if patches is None:
            why = source.reader.files_at(commit).no_mirror
            return _Changes(merge_commit, unread=why or "git has not the reviewed commit")
        removed.append(_list_removed(patches))
        gone.append({path for path, patch in patches.items() if GONE.match(patch)})
    return _Changes(merge_commit, removed[0], removed[1], gone[0], gone[1])


def _read_patches(
    source: FactSource, commit: str, paths: Collection[str]
) -> Mapping[str, str] | None:
    files = source.reader.files_at(commit)
    return files.patches_since(_get_pull_request(source).head_sha, paths)


def _get_pull_request(source: FactSource) -> PullRequest:
    pull_request = source.event.pull_request
    assert pull_request is not None
    return pull_request


def _get_document(source: FactSource) -> Mapping[str, Any]:
    document = source.event.payload["pull_request"]
    assert isinstance(document, Mapping)
    return document


def _to_finding(source: FactSource, changes: _Changes, entry: LedgerEntry) -> RecordedFinding:
    pull_request = _get_pull_request(source)
    commit = pull_request.head_sha
    if entry.side == "LEFT":
        commit = pull_request.base_sha
    return RecordedFinding(
        entry.severity,
        entry.path,
        entry.line,
        entry.title,
        " ".join(END_OF_SENTENCE.split(entry.body.strip(), maxsplit=1)[0].split()),
        permalink(pull_request.html_url, commit, entry.path, entry.line),
        _find_change(source, changes, entry),
    )


def _find_change(source: FactSource, changes: _Changes, entry: LedgerEntry) -> LineChange:
    if changes.unread:
        return LineChange("not known", why=changes.unread)
    if not entry.line or entry.side == "LEFT":
        return LineChange("not known", why="it is about a removed line or a whole file")
    if not entry.path.isprintable() or '"' in entry.path:
        return LineChange("not known", why="git does not compare files with such a name")
    place = (entry.path, entry.line)
    if entry.path in changes.gone_before_merge:
        return GONE_FILE
    if place in changes.before_merge:
        return LineChange("before the merge", changes.merge_commit)
    if entry.path in changes.gone_now:
        return GONE_FILE
    if place in changes.until_now:
        commit = read_optional(lambda: _find_commit(source, changes, *place), "")
        why = ""
        if commit.problem:
            why = f"could not be read: {commit.problem}"
        return LineChange("later", commit.value, why)
    return LineChange("no")


GONE_FILE = LineChange("not known", why="its file was renamed or deleted")


def _find_commit(source: FactSource, changes: _Changes, path: str, line: int) -> str:
    """Return the commit after the merge that changed a line of the reviewed commit; "" if it is not
    among the last 100 that GitHub lists for the file: of merges, it lists some.
    """
    since = datetime.fromisoformat(str(_get_document(source)["merged_at"]))
    branch = _get_pull_request(source).base_ref
    newest = source.reader.commits_since(path, ref=branch, since=since)
    after_merge = [*takewhile(lambda commit: commit != changes.merge_commit, newest)][::-1]

    def is_without(commit: str) -> bool:
        patches = _read_patches(source, commit, [path])
        return patches is not None and (path, line) in _list_removed(patches)

    index = bisect_left(after_merge, True, key=is_without)
    if index == len(after_merge):
        return ""
    commit = after_merge[index]
    parents = source.reader.files_at(commit).parents()
    if not parents or is_without(parents[0]):
        return ""
    return commit


def _list_removed(patches: Mapping[str, str]) -> Set[tuple[str, int]]:
    return {
        (path, line.number)
        for path, text in patches.items()
        for line in parse_patch(text).lines
        if line.side == "LEFT"
    }


RUNS = BatchRuns(run_recorded, undo_issue)
"""What a process that processes deliveries gets."""
