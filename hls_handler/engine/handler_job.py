"""The job through which a handler processes a claimed delivery, with the comment on problems of the
repository's files, and the repository's documentation, kept up to date with its default branch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from hls_handler.actions import Action, EnsureCheck, EnsureComment, EnsureLabels, Outcome
from hls_handler.analysis import Analysis, Reply, ReplyFields
from hls_handler.deliveries import REQUESTED, End, Posted
from hls_handler.engine.asking import (
    PROMPT_SECRET,
    CommentRenderer,
    Questions,
    find_outsider,
    forget_unanswered,
    prompt_limits,
)
from hls_handler.engine.codecs import (
    CONTEXT,
    LOOK_UP,
    OMISSIONS,
    PROBLEMS_REPORTED,
    UNVERIFIED,
    facts_codec,
)
from hls_handler.engine.health import Health
from hls_handler.engine.job import LOCK_S, DeliveryJob, Part, decide_retry, reads_postponed
from hls_handler.engine.posting import Posting, is_check_ended
from hls_handler.engine.shown_check import begin_check, plan_check
from hls_handler.errors import (
    BudgetUsedUp,
    ConversationIgnored,
    DependencyDown,
    Permanent,
    Postponed,
    StepFailed,
    Superseded,
)
from hls_handler.events import Event, Repository
from hls_handler.github.reader import GithubReader
from hls_handler.github.source import CommitFiles, read_optional
from hls_handler.handlers.handler import check_conversation, common_variables
from hls_handler.handlers.job import (
    NO_GUARD,
    NO_INLINE,
    Conversation,
    Facts,
    FactSource,
    Guard,
    Replies,
)
from hls_handler.handlers.reader import HistoryUpdate
from hls_handler.prompting.prompt import Library
from hls_handler.queue.checkpoints import ANALYSED, StatusChange
from hls_handler.retrieval.sections import EXTENSIONS, split_sections
from hls_handler.retrieval.vectors import Vectors, VectorsUnavailable
from hls_handler.review.record import ReviewRecord
from hls_handler.routing import Rule
from hls_handler.settings.model import Settings
from hls_handler.settings.repository import (
    PATH,
    REPOSITORY_KEYS,
    FileProblems,
    RepositorySettingsFile,
)
from hls_handler.store.call_rows import make_receipt
from hls_handler.store.conversations import ConversationRef
from hls_handler.store.review_records import ReviewChange
from hls_handler.store.texts import NewText, Texts, document_scope
from hls_handler.untrusted.cleaning import clean_and_redact, clean_title, remove_html_comments
from hls_handler.untrusted.markdown import format_code_span
from hls_handler.wording import count

log = logging.getLogger(__name__)

PROBLEMS_COMMENT_FAMILY = "settings"

SETTINGS_PROBLEMS = """\
**For the maintainers of this repository:** `{path}`, the settings file of HLS, has errors.

{problems}

Until they are fixed, keys with a mistake keep their value of the last valid version, if there is \
one. Allowed keys: {keys}."""

GUIDANCE_PROBLEMS = """\
**For the maintainers of this repository:** `{path}`, the guidance for reviews by HLS, has errors.

{problems}

Until they are fixed, the text under these headings applies to no file."""

PROBLEMS_FOOTER = """\
***

*Automatic comment by HLS, written once for each version of the file.*"""

OUTAGE = timedelta(minutes=2)
"""How long a delivery has failed because of Claude before its check says so."""

PROBLEMS_INDEX = 1_000
"""Index of the checkpoint "writing" for the comment on the file's problems. No planned action has
this index.
"""

NO_REPLY_INDEX = 100

MAX_FILES = 2_000  # of a repository: those in the fewest folders
MAX_PATH_BYTES = 1_000  # PostgreSQL cannot index rows over 2,704 bytes
FILES_PER_READ = 50
SECTIONS_PER_UPDATE = 5_000  # take ten seconds, for which a delivery waits
VECTORS_REMEDY = "do what the message says; the full-text search answers alone meanwhile"
MAX_NEAREST = 50  # sections that are found by their meaning


def build_problems_comment(files: Iterable[FileProblems]) -> EnsureComment:
    """Return the comment on GitHub that reports the problems of files.

    Problems may quote the file, which is untrusted. Therefore they are cleaned, redacted and shown
    as code.
    """
    keys = ", ".join(f"`{key.path}`" for key in REPOSITORY_KEYS)
    texts: list[str] = []
    for file in files:
        template = GUIDANCE_PROBLEMS
        if file.path == PATH:
            template = SETTINGS_PROBLEMS
        lines = "\n".join(f"- {format_code_span(problem)}" for problem in file.problems)
        texts.append(template.format(path=file.path, problems=lines, keys=keys))
    body = "\n\n".join([*texts, PROBLEMS_FOOTER])
    return EnsureComment(PROBLEMS_COMMENT_FAMILY, body, create=True)


class HandlerJob:
    """Implements `handlers.job.Job` for a claimed delivery."""

    def __init__(self, job: DeliveryJob) -> None:
        self._job = job
        self._conversation: Conversation | None = None
        self._check_commit: str | None = None  # whose check is in progress
        self._is_read = False  # whether this attempt read the facts
        self._questions: Questions | None = None  # since the first one
        self._posting: Posting | None = None  # since the first write
        self._problems: FileProblems | None = None  # of a file besides `.github/hls.yaml`
        self.part: Part = "analysis"  # that fails if an error is raised now
        self._common = common_variables(job.event, job.rule.prompt, job.rule.effective)

    @property
    def event(self) -> Event:
        return self._job.event

    @property
    def rule(self) -> Rule:
        return self._job.rule

    @property
    def library(self) -> Library:
        return self._job.config.library

    def record(self, shape: type[Facts], read: Callable[[FactSource], Facts]) -> Facts:
        job = self._job
        codec = facts_codec(shape)
        return job.run_step(codec, 0, partial(self._read_first, read))

    def look_up(self, shape: type[Facts], read: Callable[[FactSource], Facts]) -> Facts:
        codec = replace(facts_codec(shape), name=LOOK_UP)
        return self._job.run_step(codec, 0, partial(self._read, read))

    def _read_first(self, read: Callable[[FactSource], Facts]) -> Facts:
        plan_check(self._job)  # a delivery that ends here for good has a check, too
        facts = self._read(read)
        self._is_read = True
        return facts

    def _read(self, read: Callable[[FactSource], Facts]) -> Facts:
        job = self._job
        event = job.event
        if job.situation.held_until is not None:
            raise reads_postponed(job.situation.held_until)
        omitted: list[str] = []

        def report(sentence: str) -> None:
            omitted.append(sentence)
            job.note(OMISSIONS, 0, "; ".join(omitted))

        reader = job.context.github.reader(event.repository.full_name, bot=job.bot)
        documents = Documents(job.store.texts, job.context.vectors, report, job.context.health)
        accounts = [account.login for account in (job.bot, *job.others)]
        history = job.store.repositories.history(
            job.lease.repository_id, *accounts, find_nearest=documents.find_nearest
        )
        limits = prompt_limits(
            job.config.settings, job.config.library, event.name, job.rule.effective, job.rule.prompt
        )
        if limits.documents:
            documents.update(event.repository, reader)
        facts = read(FactSource(event, reader, history, limits))
        job.context.health.ok("github")
        return facts

    def remember(self, update: HistoryUpdate) -> None:
        if self._is_read:
            self._job.store.repositories.save(self._job.lease, update)

    def require(self, guard: Guard) -> None:
        job = self._job
        # else the next call or write is the first effect, and its transaction checks this
        if guard.commit is not None:
            job.store.interruptions.require(job.check_newest(guard.commit))
        self._require_needed(guard)

    def _require_needed(self, guard: Guard) -> None:
        job = self._job
        history = job.store.repositories.history(job.lease.repository_id, job.bot.login)
        reason = guard.find_reason(history)
        if reason is not None:
            raise Superseded(reason)

    def choose(self, conversation: Conversation | None) -> None:
        self._conversation = conversation
        # The facts or the settings name the conversation, not the event.
        if conversation is not None and (
            self._job.lease.number is None or conversation.is_fallback_issue
        ):
            job = self._job
            number = conversation.number
            job.pending.add(StatusChange({"posted_on": number}))
            self._job = replace(job, lease=replace(job.lease, number=number)).with_account_for(
                number
            )
            require_runs_left(self._job, job.store.calls.count_conversation_runs(self._job.lease))
            if conversation.is_fallback_issue and 0 not in job.replies.valid:
                self._check_fallback_issue(number)

    def _check_fallback_issue(self, number: int) -> None:
        job = self._job
        job.require_reads_allowed()
        reader = job.context.github.reader(job.event.repository.full_name)
        check_fallback_issue(job.event, job.rule, number, reader, job.config.settings)

    def lock(self, name: str) -> None:
        job = self._job
        changes = job.pending.take()
        full_name = f"{job.lease.conversation_key}/{name}"
        job.store.locks.acquire(job.lease, full_name, ttl_s=LOCK_S, changes=changes)

    def comment_state(self, family: str) -> str | None:
        job = self._job
        if self._conversation is None:
            return None
        history = job.store.repositories.history(job.lease.repository_id, job.bot.login)
        return history.comment_state(self._conversation.number, family)

    def note(
        self,
        *,
        omitted: str = "",
        sent: str = "",
        unanswered: str = "",
        unverified: str | None = None,
    ) -> None:
        job = self._job
        if omitted:
            job.note(OMISSIONS, 0, omitted)
        if sent:
            job.note(CONTEXT, 0, sent)
        if unanswered:
            job.note(OMISSIONS, NO_REPLY_INDEX, unanswered)
        if unverified is not None and unverified != (job.find_result(UNVERIFIED) or ""):
            job.add(UNVERIFIED, unverified)

    def report(self, problems: FileProblems) -> None:
        self._problems = problems

    def begin_check(self, commit: str) -> None:
        if not is_check_ended(self._job):
            begin_check(self._job, commit)
            self._check_commit = commit

    def ask_one(self, prompt: str, variables: Mapping[str, object], index: int) -> Reply:
        if self._questions is None:
            self._job = replace(self._job, outsider=find_outsider(self._job))
            self._questions = Questions(self._job)
        try:
            return self._questions.ask(prompt, {**self._common, **variables}, index)
        except BudgetUsedUp as exc:
            if self._check_commit is not None:
                begin_check(self._job, self._check_commit, waits_until=exc.at)
            raise
        except DependencyDown as exc:
            self._show_outage(exc)
            raise

    def end_failed_analysis(self, error: BaseException) -> None:
        """Store which questions got no reply, unless an operator must have all asked again."""
        if self.part != "analysis":
            return
        if isinstance(error, Permanent):
            forget_unanswered(self._job)
        elif self._questions is not None:
            self._questions.store_failed()

    def _show_outage(self, error: DependencyDown) -> None:
        """Let the check say by when the next attempt is, once Claude has been down for `OUTAGE`."""
        job = self._job
        now = self._job.store.now()
        row = job.store.deliveries.find(job.lease.guid)
        since = (row.first_failure_at if row is not None else None) or now
        if self._check_commit is None or error.dependency != "claude":
            return
        retry_at = decide_retry(
            error,
            attempts=job.lease.attempts,
            failures=job.lease.failures + 1,
            first_failure_at=since,
            now=now,
            jitter=1.0,  # the latest time
            limits=job.config.settings.limits,
        )
        if isinstance(retry_at, datetime) and max(now, error.not_before or now) - since >= OUTAGE:
            with suppress(Postponed, StepFailed):  # the error of the call counts
                begin_check(job, self._check_commit, waits_until=retry_at, is_claude_down=True)

    def render(
        self,
        replies: Replies,
        variables: Mapping[str, object],
        inline: Mapping[str, Mapping[str, object]] = NO_INLINE,
    ) -> Analysis:
        if self._questions is not None:
            self._questions.end(is_left_out=bool(replies.left_out))
        return self._with_receipt(self._comments.render(replies, variables, inline))

    def render_static(self, reply: ReplyFields, variables: Mapping[str, object]) -> Analysis:
        forget_unanswered(self._job)
        self._job.pending.add(ANALYSED)
        static = self._comments.render_static(self._job.rule.prompt, reply, variables)
        return self._with_receipt(static)

    @property
    def _comments(self) -> CommentRenderer:
        job = self._job
        key = job.store.database.secret(PROMPT_SECRET)
        return CommentRenderer(job.config.library, self._common, key, job.handler.has_sections)

    def _with_receipt(self, analysis: Analysis) -> Analysis:
        """Return the analysis with the calls of this delivery."""
        calls = self._job.store.calls.calls_of(self._job.lease.guid)
        self._job.attempt.calls = calls
        receipt = make_receipt(calls)
        # A reply from the cache has no call.
        prompt_ids = dict.fromkeys(
            [*(answer.prompt_id for answer in analysis.replies), *receipt.prompt_ids]
        )
        receipt = replace(receipt, prompt_ids=tuple(prompt_ids))
        return replace(analysis, receipt=receipt)

    def write(
        self, *actions: Action, later: Sequence[Action] = (), unless: Guard = NO_GUARD
    ) -> tuple[Outcome, ...]:
        job = self._job
        self.part = "posting"
        actions = self._without_labels(actions)
        if self._conversation is None:
            comments = tuple(action for action in actions if isinstance(action, EnsureComment))
            return Posting(job, None).execute_all(comments)
        if self._posting is None:
            self._posting = Posting(
                job, self._conversation, unless.commit, partial(self._require_needed, unless)
            )
            self._posting.begin((*actions, *later))
        return self._posting.execute_all(actions)

    def post(self, *actions: Action, reason: str = "", unless: Guard = NO_GUARD) -> End:
        job = self._job
        posted: Posted | None = None
        outcomes = self.write(*actions, unless=unless)
        if self._conversation is not None and self._posting is not None:
            outcomes = self._posting.end()
            _report_settings_problems(job, self._conversation, self._problems)
            posted = self._posted_as
        details = [*filter(None, [reason]), *(outcome.detail for outcome in outcomes)]
        return End("done", "; ".join(details) or "analysed; nothing to post", posting=posted)

    def _without_labels(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        if self._conversation is None or self._conversation.is_fallback_issue:
            return tuple(action for action in actions if not isinstance(action, EnsureLabels))
        return actions

    @property
    def _posted_as(self) -> Posted:
        return "dry_run" if self._job.rule.effective.features.dry_run else "done"

    def post_check(self, actions: tuple[EnsureCheck, ...], reason: str) -> End:
        if not actions:
            return End("done", reason)
        self.part = "posting"
        self._job.require_reads_allowed()
        posting = Posting(self._job, None)
        posting.execute_all(actions)
        outcomes = posting.end()
        details = [outcome.detail for outcome in outcomes]
        return End("done", "; ".join([reason, *details]), posting=self._posted_as)

    def store_review(self, record: ReviewRecord) -> None:
        job = self._job
        if self._conversation is not None and not job.rule.effective.features.dry_run:
            ref = ConversationRef(job.event.repository.id, job.bot.login, self._conversation.number)
            job.pending.add(ReviewChange(ref, record))


def check_fallback_issue(
    event: Event,
    rule: Rule,
    number: int,
    reader: GithubReader,
    settings: Settings,
) -> None:
    """Raise `Permanent` if the issue cannot be read, and what `check_conversation` raises."""
    name = f"{event.repository.full_name}#{number}"
    chosen_by = name_fallback_setting(rule, settings)
    try:
        issue = reader.issue(number)
    except Permanent as exc:
        reason = f"{chosen_by} chooses {name} for the comment, which GitHub does not show"
        raise Permanent(f"{reason}: {exc}") from exc
    try:
        check_conversation(event, issue)
    except Superseded as exc:
        exc.args = (f"{exc}; {chosen_by} chooses it for the comment",)
        raise


def name_fallback_setting(rule: Rule, settings: Settings) -> str:
    """Return the place of the setting that chooses an issue for the comment about the event."""
    return settings.sources.where(f"{rule.effective.key}.comments.post_to")


def require_runs_left(job: DeliveryJob, runs: int) -> None:
    """Raise `ConversationIgnored` if `runs` are too many of the conversation.

    A review that a person requested runs in any case.
    """
    if job.lease.request_id.startswith(REQUESTED):
        return
    settings = job.config.settings
    max_runs = settings.limits.thread_runs_per_hour
    if runs < max_runs or 0 in job.replies.valid:  # a stored reply of Claude was paid for
        return
    where = settings.sources.where("limits.thread_runs_per_hour")
    times = count(runs, "time")
    reason = f"this conversation was processed {times} within the hour; {where} allows {max_runs}"
    raise ConversationIgnored(reason, "too many runs")


def _report_settings_problems(
    job: DeliveryJob, conversation: Conversation, guidance: FileProblems | None
) -> None:
    """Comment on the problems of the settings file and the guidance, once for each version of the
    files.

    In a dry run, or if comments are off, nothing is written or stored. So a later delivery can
    still comment.
    """
    files = _list_problems(job.repository_settings, guidance)
    features = job.rule.effective.features
    if not files or features.dry_run or not features.auto_commenting:
        return
    job.run_step(PROBLEMS_REPORTED, 0, partial(_report, job, conversation, files))


def _list_problems(
    file: RepositorySettingsFile | None, guidance: FileProblems | None
) -> list[FileProblems]:
    problems: list[FileProblems] = []
    if file is not None and file.settings.problems:
        problems.append(FileProblems(PATH, file.version or "", file.settings.problems))
    if guidance is not None:
        problems.append(guidance)
    return problems


def _report(job: DeliveryJob, conversation: Conversation, files: Sequence[FileProblems]) -> Outcome:
    repository = job.event.repository
    version = "+".join(file.version for file in files)
    if not job.store.repository_files.claim_report(
        job.lease, repository.id, job.bot.login, version
    ):
        return Outcome(
            "comment", "withheld", "another delivery comments on the settings file's problems"
        )
    try:
        comment = build_problems_comment(files)
        return Posting(job, conversation).write(comment, PROBLEMS_INDEX)
    except Permanent as exc:  # the delivery's own comment is posted, so the delivery succeeds
        log.warning(
            "cannot comment on the problems of the settings file", extra={"reason": str(exc)}
        )
        return Outcome("comment", "withheld", str(exc))


class Documents:
    """The documentation of a repository, as one delivery uses it.

    `vectors` is None if the settings name no Qdrant. After a failure of theirs the delivery does
    without, so it waits only once. `report` gets a sentence about each failure, for `hls why`;
    `health` has it, too.
    """

    def __init__(
        self,
        texts: Texts,
        vectors: Vectors | None,
        report: Callable[[str], None],
        health: Health | None = None,
    ) -> None:
        self._texts = texts
        self._vectors = vectors
        self._report = report
        self._health = health

    def update(self, repository: Repository, reader: GithubReader) -> None:
        """Read the documentation of the default branch, at most once an hour and after pushes.

        If it cannot be read, what is stored stays.
        """
        texts = self._texts
        scope = document_scope(repository.id)
        branch = repository.default_branch
        index = texts.document_index(repository.id, repository.full_name)
        if index.is_fresh or branch is None:
            return
        stored = index.commit
        newest = read_optional(lambda: reader.head_commit(branch), None)
        commit = newest.value
        problem = newest.problem
        if commit is not None and commit != stored:
            files = reader.files_at(commit)
            is_changed = read_optional(lambda: _store_changes(texts, scope, files), True)
            if is_changed.value:
                texts.update_statistics()
            problem = is_changed.problem or files.no_mirror
            if not problem:
                stored = commit
            # sections are of two commits, so that links to their lines may be wrong
            elif is_changed.value:
                stored = None
        texts.save_document_index(repository.id, stored, index.checked_at)
        if problem:
            log.warning(
                "documentation was not read",
                extra={"repository": repository.full_name, "reason": problem},
            )
            self._report(f"the documentation of the repository was not read: {problem}")
        # After the index is saved: other deliveries need not wait, and the next update adds what a
        # failed one left out.
        if self._vectors is not None:
            with self._reporting():
                self._vectors.update(scope, texts.load(scope))

    def find_nearest(self, scope: str, question: str) -> Sequence[int]:
        """Return the ids of the texts that fit a question by their meaning, best first; () if
        vectors are not used.
        """
        nearest: Sequence[int] = ()
        if self._vectors is not None:
            with self._reporting():
                nearest = self._vectors.nearest(scope, question, MAX_NEAREST)
        return nearest

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except VectorsUnavailable as exc:
            log.warning("documentation is searched without vectors", extra={"reason": str(exc)})
            self._report(f"the documentation was searched by its words alone: {exc}")
            self._vectors = None
            if self._health is not None:
                self._health.report_problem("vectors", str(exc), VECTORS_REMEDY)
        else:
            if self._health is not None:
                self._health.ok("vectors")


def _store_changes(texts: Texts, scope: str, files: CommitFiles) -> bool:
    """Store the sections of new and changed files. Return True if any were stored.

    Raises `Permanent` if there are too many for one update; the next one goes on.
    """
    blobs = files.list_files(EXTENSIONS)
    if files.no_mirror:
        return False
    blobs = {path: blob for path, blob in blobs.items() if len(path.encode()) <= MAX_PATH_BYTES}
    chosen = sorted(blobs, key=lambda path: (path.count("/"), path))[:MAX_FILES]
    stored = texts.versions(scope)
    changed = [path for path in chosen if stored.get(path) != blobs[path]]
    number = 0
    for start in range(0, len(changed), FILES_PER_READ):
        if number > SECTIONS_PER_UPDATE:
            raise Permanent(
                "it is too large for one reading; that for a question in an hour goes on"
            )
        paths = changed[start : start + FILES_PER_READ]
        contents = files.texts(paths)
        if files.no_mirror:
            return start > 0
        sections = [
            NewText(
                path,
                clean_title(section.title),
                clean_and_redact(section.text),
                section.line,
                section.end_line,
                blobs[path],
            )
            for path, text in contents.items()
            for section in split_sections(path, remove_html_comments(text, keep_lines=True))
        ]
        texts.replace(scope, paths, sections)
        number += len(sections)
    texts.replace(scope, stored.keys() - set(chosen), [])
    return bool(changed)
