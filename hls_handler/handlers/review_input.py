"""Reads what a review needs besides the pull request: changed files, review threads, guidance,
the lines around hunks, other places.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

from hls_handler.errors import Retryable, Superseded
from hls_handler.events import Account, Event, PullRequest
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import (
    NO_CONTEXT,
    Blob,
    ChangedFile,
    MergeState,
    ReviewContext,
    ReviewThread,
)
from hls_handler.handlers.changed_files import PatchedFile
from hls_handler.handlers.job import PromptLimits
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.reader import OptionalRead, read_optional
from hls_handler.handlers.skipped_files import (
    EMPTY_BLOBS,
    Reason,
    SkipRules,
    decide_unshown,
    is_shortened,
    looks_like_code,
)
from hls_handler.question import estimate_tokens
from hls_handler.review.dismissals import find_dismissals, list_objectors
from hls_handler.review.guidance import AGENTS_PATH, MAX_FOLDERS, list_folders, list_guidance_paths
from hls_handler.review.neighbourhood import SecondSite, SiteKind
from hls_handler.review.patches import Patch
from hls_handler.review.present_files import PresentFiles
from hls_handler.review.record import LedgerEntry, ReviewRecord
from hls_handler.review.reviewers import (
    MAX_REVIEWERS,
    OWNERS_PATHS,
    Reviewer,
    choose_reviewers,
    find_owners,
    parse_owners,
)
from hls_handler.wording import count

log = logging.getLogger(__name__)

MAX_LISTED_FILES = 3_000  # GitHub lists no more
MAX_COMPARED_FILES = 250  # changed files without a patch that are compared with the base branch
MAX_OWNED_FILES = 30  # changed files whose code owners are looked up
MAX_AUTHORED_FILES = 3  # changed files whose last authors are read, with one request each


def read_changed_files(
    event: Event, pull_request: PullRequest, reader: GithubReader
) -> tuple[ChangedFile, ...]:
    """Return the changed files of the head commit. Raises `Superseded` if another commit is the
    head by now.

    GitHub lists the files of the present head, and the list may be late. Raises `Retryable` if it
    is of another commit. If the list names no commit, or only the base changed, its sums of lines
    and files must equal the sums of the pull request.
    """
    number = pull_request.number
    head = pull_request.head_sha
    # GitHub may list a file twice
    files = tuple({file.path: file for file in reader.files(number)}.values())
    commits = {file.commit for file in files if file.status != "removed"}
    is_retargeted = _changes_base(event)
    if commits == {head} and not is_retargeted:
        return files
    current = reader.pull_request(number)
    if current.head_sha != head:
        raise Superseded(f"a newer push came meanwhile: {current.head_sha[:10]}")
    others = sorted(commit for commit in commits if commit not in (None, head))
    if others:
        raise Retryable(
            f"GitHub still lists the changed files of commit {others[0][:10]}, but the head is"
            f" {head[:10]}"
        )
    if is_retargeted or head not in commits:
        _check_numbers(files, current)
    return files


def _changes_base(event: Event) -> bool:
    changes = event.payload.get("changes")
    return event.action == "edited" and isinstance(changes, Mapping) and "base" in changes


def _check_numbers(files: Sequence[ChangedFile], pull_request: PullRequest) -> None:
    """Raise `Retryable` if a complete list has other numbers than the pull request."""
    counted = (
        len(files),
        sum(file.additions for file in files),
        sum(file.deletions for file in files),
    )
    expected = pull_request.changed_files, pull_request.additions, pull_request.deletions
    if counted != expected and len(files) < MAX_LISTED_FILES:
        numbers = (
            f"(files, added lines, removed lines) are {counted}, and {expected} in the pull request"
        )
        raise Retryable(f"GitHub's list of the changed files is late: {numbers}")


@dataclass(frozen=True, slots=True)
class Discussion:
    """The review threads of HLS's findings, and who of the people that dismissed one may write to
    the repository.
    """

    threads: tuple[ReviewThread, ...] = ()
    writers: frozenset[str] = frozenset()
    # threads of findings that the database does not have
    lost: tuple[ReviewThread, ...] = ()

    @property
    def own_replies(self) -> Mapping[str, tuple[str, ...]]:
        """The keys of HLS's replies, by the key of the finding."""
        return {thread.key: thread.own_replies for thread in self.threads}

    def find_resolved_in_vain(self, ledger: Iterable[LedgerEntry]) -> frozenset[str]:
        """Return the keys of open findings whose thread a writer resolved, though their block had
        changed.
        """
        resolved = {thread.key for thread in self.threads if thread.resolved_by in self.writers}
        return frozenset(entry.key for entry in ledger if entry.counts and entry.key in resolved)


def read_discussion(
    pull_request: PullRequest, reader: GithubReader, record: ReviewRecord
) -> Discussion:
    """Read the review threads, unless no finding has one. Without a stored review, there are some
    if the database was lost.
    """
    ledger = record.ledger
    threads: Sequence[ReviewThread] = ()
    is_lost = not record.rounds and pull_request.review_comments
    if is_lost or any(entry.comment_id for entry in ledger):
        threads = reader.review_threads(pull_request.number)
    known = {entry.key for entry in ledger}
    lost = tuple(thread for thread in threads if thread.key not in known)
    people: dict[str | None, None] = {}
    for entry in ledger:
        people |= dict.fromkeys(key.partition(" by ")[2] for key in entry.dismissals)
    for thread in threads:
        dismissed_by = find_dismissals(thread).values()
        people |= dict.fromkeys([*dismissed_by, thread.resolved_by])
        if dismissed_by:
            people |= dict.fromkeys(list_objectors(thread))
    writers = [
        login for login in people if login and reader.permission(login) in ("admin", "write")
    ]
    return Discussion(tuple(threads), frozenset(writers), lost)


def read_unshown(
    files: Sequence[ChangedFile],
    pull_request: PullRequest,
    base: str,
    reader: GithubReader,
    rules: SkipRules,
) -> Mapping[str, Reason]:
    """Return why GitHub shows no line of some files, by path. One or two requests if there are
    such. `base` is the revision that they are compared with.
    """
    compared = [file for file in files if rules.is_compared(file)]
    compared.sort(key=lambda file: file.status == "renamed")
    del compared[MAX_COMPARED_FILES:]
    if not compared:
        return {}
    head = pull_request.head_sha
    earlier: dict[str, str] = {}  # names of blobs, by path
    contents: dict[str, str] = {}
    for file in compared:
        if file.status not in ("added", "copied", "removed"):
            earlier[file.path] = f"{base}:{file.previous_path or file.path}"
        if not looks_like_code(file.path):
            revision = head
            if file.status == "removed":
                revision = base
            contents[file.path] = f"{revision}:{file.path}"
    nothing: Mapping[str, Blob] = {}
    read = partial(reader.files_at(head).blobs, [*earlier.values()], [*contents.values()])
    optional = read_optional(read, nothing)
    if optional.problem:
        log.warning("files without a patch were not compared", extra={"reason": optional.problem})
        return {}
    reasons: dict[str, Reason] = {}
    for file in compared:
        on_base = optional.value.get(earlier.get(file.path, ""))
        content = optional.value.get(contents.get(file.path, ""))
        reason = decide_unshown(file, on_base, content)
        if reason is not None:
            reasons[file.path] = reason
    return reasons


def find_present(
    changed_files: Sequence[ChangedFile],
    patches: Mapping[str, Patch],
    unlisted: int,
    record: ReviewRecord,
    unshown: Mapping[str, Reason] = MappingProxyType({}),
) -> PresentFiles:
    """Return the present files. GitHub may have shortened or left out the patches of some of
    them.
    """
    renamed: dict[str, str] = {}
    unread: set[str] = set()
    for file in changed_files:
        if file.previous_path and file.status == "renamed":
            renamed[file.path] = file.previous_path
        if _is_unread(file, unshown.get(file.path)):
            unread |= {file.path, file.previous_path or file.path}
    return PresentFiles(
        patches,
        renamed,
        unread=frozenset(unread),
        is_complete=not unlisted,
        skipped={file.path: record.skipped_since(file.path, file.sha) for file in changed_files},
    )


def _is_unread(file: ChangedFile, unshown: Reason | None) -> bool:
    if file.patch:
        return is_shortened(file)
    if file.status == "removed" or file.sha in EMPTY_BLOBS:
        return False
    if unshown is not None:
        return unshown not in ("mode changed only", "renamed without changes")
    return not (file.status == "renamed" and not file.additions and not file.deletions)


def read_context(
    pull_request: PullRequest,
    changed_files: Iterable[ChangedFile],
    reader: GithubReader,
    limits: PromptLimits,
) -> OptionalRead[ReviewContext]:
    """Return the context, or an empty one and the reason: a review without it is better than
    none.
    """
    guidance: list[str] = []
    if limits.review.guidance:
        guidance = list_guidance_paths(file.path for file in changed_files)
    base = pull_request.base_ref
    if limits.is_past:
        base = pull_request.base_sha
    read = partial(reader.review_context, pull_request.number, base, guidance=guidance)
    context = read_optional(read, NO_CONTEXT)
    if limits.is_past:  # of issues, only the present texts are known
        context = replace(context, value=replace(context.value, linked_issues=()))
    if not context.problem:
        return context
    return replace(
        context, problem=f"guidance, linked issues and .gitattributes: {context.problem}"
    )


def read_merge_state(
    pull_request: PullRequest, reader: GithubReader, threads: Sequence[ReviewThread]
) -> OptionalRead[MergeState | None]:
    """Return what GitHub says, or None and the reason."""
    unknown: MergeState | None = None
    state = read_optional(lambda: reader.merge_state(pull_request.number), unknown)
    if state.value is None:
        return state
    open_threads = sum(not thread.is_resolved for thread in threads)
    return OptionalRead(replace(state.value, open_threads=open_threads))


def read_reviewers(
    pull_request: PullRequest, files: Sequence[PatchedFile], reader: GithubReader
) -> tuple[Reviewer, ...]:
    """Return people who may review the files, and have not been asked: so many that at most three
    are asked.

    Up to six requests; nothing if one fails. Bots and people who have reviewed are left out.
    """
    none: tuple[Reviewer, ...] = ()
    reviewers = read_optional(lambda: _choose_reviewers(pull_request, files, reader), none)
    if reviewers.problem:
        log.warning("reviewers were not suggested", extra={"reason": reviewers.problem})
    return reviewers.value


def _choose_reviewers(
    pull_request: PullRequest, files: Sequence[PatchedFile], reader: GithubReader
) -> tuple[Reviewer, ...]:
    opened = reader.open_pull_requests()
    load: Counter[str] = Counter()
    requested: tuple[Account, ...] = ()
    for current in opened:
        load.update(person.login.lower() for person in current.requested_reviewers)
        if current.number == pull_request.number:
            requested = current.requested_reviewers
    if len(requested) >= MAX_REVIEWERS:
        return ()
    base = pull_request.base_sha or pull_request.base_ref
    by_size = sorted(files, key=lambda file: file.additions + file.deletions, reverse=True)
    texts = reader.files_at(base).texts(OWNERS_PATHS)
    rules = parse_owners(next((texts[path] for path in OWNERS_PATHS if path in texts), ""))
    owners: list[str] = []
    for file in by_size[:MAX_OWNED_FILES]:
        owners += find_owners(rules, file.path)
    reviewed = [review.user for review in reader.reviews(pull_request.number)]
    existing = [file.base_path for file in by_size if file.status not in ("added", "copied")]
    authors: list[str] = []
    for path in existing[:MAX_AUTHORED_FILES]:
        last_authors = reader.last_authors(path, ref=base)
        authors += [person.login for person in last_authors if not person.is_bot]
    return choose_reviewers(
        owners,
        authors,
        load=load,
        excluded={person.login.lower() for person in (pull_request.user, *requested, *reviewed)},
        most=MAX_REVIEWERS - len(requested),
    )


def describe_context(facts: PullRequestFacts) -> str:
    """Return a text such as "AGENTS.md (about 120 tokens), issue #7 (about 80 tokens)"; ""
    without context.
    """
    sites = facts.second_sites
    around: list[str] = []
    for of_file in facts.selection.around.values():
        around += of_file.values()
    texts = [text for context in facts.contexts for text in context.parts]
    texts += [text for context in facts.contexts for text in context.issues]
    by_name = {text.name: text.text for text in texts}
    parts = [_describe_text(name, text) for name, text in by_name.items()]
    if around:
        hunks = count(len(around), "hunk")
        parts.append(_describe_text(f"lines around {hunks}", "\n".join(around)))
    if sites:
        site_texts = "\n".join(site.text for site in sites)
        parts.append(_describe_text(describe_sites(sites), site_texts))
    if facts.context_problem:
        parts.append(f"not {facts.context_problem}")
    parts += (f"not {reason}" for reason in _describe_left_out(facts))
    if facts.selection.unsearched:
        parts.append(f"not other places of the repository: {facts.selection.unsearched}")
    return ", ".join(parts)


def _describe_left_out(facts: PullRequestFacts) -> Iterator[str]:
    """Yield the guidance that is not read because of a wrong glob or too many folders."""
    wrong = facts.guidance_problems
    if wrong is not None:
        yield f"the text under wrong globs: {'; '.join(wrong.problems)}"
    selection = facts.selection
    paths = [
        *(file.path for file in selection.files),
        *(skipped.path for skipped in selection.skipped),
    ]
    folders = len(list_folders(paths)) - MAX_FOLDERS
    if folders > 0 and facts.review.guidance:
        yield f"{AGENTS_PATH} of {count(folders, 'folder')} beyond {MAX_FOLDERS}"


def _describe_text(name: str, text: str) -> str:
    return f"{name} (about {count(estimate_tokens(text), 'token')})"


def describe_sites(sites: Sequence[SecondSite]) -> str:
    """Return a text such as "4 calls, 1 definition and 2 other uses"."""
    numbers = Counter(site.kind for site in sites)
    nouns: Mapping[SiteKind, str] = {"call": "call", "definition": "definition", "use": "other use"}
    parts = [count(numbers[kind], noun) for kind, noun in nouns.items() if numbers[kind]]
    if len(parts) > 1:
        first = ", ".join(parts[:-1])
        parts = [first, parts[-1]]
    return " and ".join(parts)
