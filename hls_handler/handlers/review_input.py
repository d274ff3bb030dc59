"""Reads what a review needs besides the pull request: changed files, review threads, guidance,
the lines around hunks, other places.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from types import MappingProxyType

from hls_handler.errors import Retryable, Superseded
from hls_handler.events import Account, Event, PullRequest
from hls_handler.git.mirror import Hit
from hls_handler.github.reader import GithubReader
from hls_handler.github.source import CommitFiles
from hls_handler.github.values import (
    NO_CONTEXT,
    Blob,
    ChangedFile,
    MergeState,
    ReviewContext,
    ReviewThread,
)
from hls_handler.handlers.changed_files import (
    MAX_PATCH_TOKENS,
    TOKENS_PER_FILE,
    PatchedFile,
    Selection,
    show_files,
)
from hls_handler.handlers.job import PromptLimits
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.reader import OptionalRead, read_optional, read_texts
from hls_handler.handlers.skipped_files import (
    EMPTY_BLOBS,
    Reason,
    SkipRules,
    decide_unshown,
    is_hand_written,
    is_shortened,
    looks_like_code,
)
from hls_handler.path_globs import PathFilter
from hls_handler.question import estimate_tokens
from hls_handler.review.dismissals import find_dismissals
from hls_handler.review.file_kinds import is_prose
from hls_handler.review.guidance import AGENTS_PATH, MAX_FOLDERS, list_folders, list_guidance_paths
from hls_handler.review.ledger import PresentFiles
from hls_handler.review.neighbourhood import (
    Kind,
    Search,
    SecondSite,
    choose_extents,
    show_lines,
)
from hls_handler.review.neighbourhood_names import ChangedText, list_names, list_searched
from hls_handler.review.neighbourhood_text import SourceText
from hls_handler.review.patches import Hunk, Patch, parse_numbered
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

MAX_READ_FILES = 100  # changed files that are read as a whole
MAX_LISTED_FILES = 3_000  # GitHub lists no more
MAX_COMPARED_FILES = 250  # changed files without a patch that are compared with the base branch
MAX_OWNED_FILES = 30  # changed files whose code owners are looked up
MAX_AUTHORED_FILES = 3  # changed files whose last authors are read, with one request each
MAX_SURROUNDINGS = 6_000  # tokens of lines around hunks and of other places, in a call
AROUND_SHARE = 0.6  # of the tokens for lines around hunks and for other places


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


def read_discussion(number: int, reader: GithubReader, ledger: Sequence[LedgerEntry]) -> Discussion:
    """Read the review threads, unless no finding has one."""
    threads: Sequence[ReviewThread] = ()
    if any(entry.comment_id for entry in ledger):
        threads = reader.review_threads(number)
    people: dict[str | None, None] = {}
    for entry in ledger:
        people |= dict.fromkeys(key.partition(" by ")[2] for key in entry.dismissals)
    for thread in threads:
        people |= dict.fromkeys([*find_dismissals(thread).values(), thread.resolved_by])
    writers = [
        login for login in people if login and reader.permission(login) in ("admin", "write")
    ]
    return Discussion(tuple(threads), frozenset(writers))


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
    nouns: Mapping[Kind, str] = {"call": "call", "definition": "definition", "use": "other use"}
    parts = [count(numbers[kind], noun) for kind, noun in nouns.items() if numbers[kind]]
    if len(parts) > 1:
        first = ", ".join(parts[:-1])
        parts = [first, parts[-1]]
    return " and ".join(parts)


def read_surroundings(
    selection: Selection,
    files: CommitFiles,
    ignored_paths: PathFilter,
    *,
    tokens: int,
    most: int,
    searches: bool = True,
) -> Selection:
    """Return the selection with the lines around its hunks and other places of the repository, or
    why it has none.

    `files` are those of the head commit. Each call gets at most `most` tokens of both, and no more
    than its `tokens` have room for beside its patches. So the patches and their division into calls
    do not change.
    """
    parts = chain.from_iterable(selection.calls)
    patched = {selection.files[part.file].path: selection.files[part.file] for part in parts}
    code = [file for file in patched.values() if not is_prose(file.path)]
    if not most or not code:
        return selection
    paths = [file.path for file in code if file.status != "removed"][:MAX_READ_FILES]
    texts = read_texts(files, paths)
    if texts.problem:
        return replace(selection, unsearched=texts.problem)
    sources = list_sources(selection, code, texts.value)
    selection = _with_extents(selection, sources, tokens=tokens, most=most)
    if not searches:
        return selection
    if files.no_mirror:
        return replace(selection, unsearched=files.no_mirror)
    searched = SearchedFiles(files, ignored_paths)
    no_search: Search | None = None
    search = read_optional(lambda: _search(selection, sources, searched), no_search)
    if search.value is not None:
        selection = _with_second_sites(selection, search.value, tokens=tokens, most=most)
    why = search.problem or files.no_mirror or _describe_too_large(paths, texts.value, files)
    return replace(selection, unsearched=why)


def list_sources(
    selection: Selection, files: Iterable[PatchedFile], texts: Mapping[str, str]
) -> Mapping[str, SourceText]:
    """Return the changed files whose text fits the patch; a removed one is empty."""
    sources: dict[str, SourceText] = {}
    for file in files:
        source = SourceText(file.path, texts.get(file.path, ""))
        if file.status == "removed" or _has_lines(source, selection.patches[file.path]):
            sources[file.path] = source
    return sources


def _has_lines(source: SourceText, patch: Patch) -> bool:
    """Return True if a file has the lines of a patch."""
    return all(
        source.lines[line.number : line.number + 1] == [line.text]
        for line in patch.lines
        if line.side == "RIGHT"
    )


@dataclass(frozen=True, slots=True)
class SearchedFiles:
    """The files at a commit, without those that settings ignore or people do not write."""

    files: CommitFiles
    ignored_paths: PathFilter

    def find_words(self, words: Collection[str]) -> Sequence[Hit]:
        hits = self.files.find_words(words)
        paths = {path: self._has(path) for path in {hit.path for hit in hits}}
        return [hit for hit in hits if paths[hit.path]]

    def _has(self, path: str) -> bool:
        is_left_out = self.ignored_paths.excludes(path) or is_prose(path)
        return not is_left_out and is_hand_written(path)


def _search(
    selection: Selection, sources: Mapping[str, SourceText], searched: SearchedFiles
) -> Search:
    patches = selection.shown_patches
    changed = [ChangedText(source, patches[path]) for path, source in sources.items()]
    names = list_names(changed)
    search = Search(names, changed, searched.find_words(list_searched(names)))
    search.rank(searched.files.texts(search.list_paths()))
    return search


def _describe_too_large(paths: Iterable[str], texts: Mapping[str, str], files: CommitFiles) -> str:
    """Return which files exist but could not be read; "" if all could."""
    unread = [path for path in paths if path not in texts]
    if not unread:
        return ""
    sizes = files.list_files(unread)
    too_large = [path for path in unread if path in sizes]
    if not too_large:
        return ""
    named = too_large[0]
    if len(too_large) > 1:
        named = f"{named} and {count(len(too_large) - 1, 'more file')}"
    return f"{named} could not be read: over 2 MB, or no text"


def _with_extents(
    selection: Selection, sources: Mapping[str, SourceText], *, tokens: int, most: int
) -> Selection:
    """Return the selection with the lines around the hunks of each call."""
    around: dict[str, dict[int, str]] = {}
    for call in selection.calls:
        used = _count_files(show_files(selection, call))
        room = int(min(tokens - used, most) * AROUND_SHARE)
        hunks: dict[str, list[int]] = {}
        for part in call:
            path = selection.files[part.file].path
            size = estimate_tokens(selection.files[part.file].numbered)
            if path in sources and part.lines is None and size + most <= MAX_PATCH_TOKENS:
                hunks.setdefault(path, []).extend(part.hunks)
        changed: list[ChangedText] = []
        for path, of_file in hunks.items():
            patch_hunks = [selection.patches[path].hunks[index] for index in of_file]
            changed.append(ChangedText(sources[path], Patch(tuple(patch_hunks))))
        for path, numbers in choose_extents(changed, room).items():
            of_hunks = {at: selection.patches[path].hunks[at] for at in hunks[path]}
            if numbers:
                around.setdefault(path, {}).update(_share_lines(sources[path], numbers, of_hunks))
    return replace(selection, around=around)


def _share_lines(
    source: SourceText, numbers: Iterable[int], hunks: Mapping[int, Hunk]
) -> Mapping[int, str]:
    """Return the lines as numbered text, by the index of the hunk that each is nearest to."""
    nearest: dict[int, list[int]] = {}
    for number in sorted(numbers):
        index = min(hunks, key=lambda index: _measure_distance(hunks[index], number))
        nearest.setdefault(index, []).append(number)
    return {index: show_lines(source, of_hunk) for index, of_hunk in nearest.items()}


def _measure_distance(hunk: Hunk, number: int) -> int:
    return min(abs(line.number - number) for line in hunk.lines)


def _with_second_sites(
    selection: Selection, search: Search, *, tokens: int, most: int
) -> Selection:
    """Return the selection with the other places of each call: those of the files that it shows."""
    bare = replace(selection, around={})
    calls: list[tuple[SecondSite, ...]] = []
    for call in selection.calls:
        used = _count_files(show_files(bare, call))
        files = show_files(selection, call)
        room = min(tokens - used, most) - (_count_files(files) - used)
        visible: dict[str, set[int]] = {}
        for file in files:
            lines = parse_numbered(file.numbered).lines
            numbers = {line.number for line in lines if line.side == "RIGHT"}
            visible.setdefault(file.path, set()).update(numbers)
        calls.append(search.choose(visible, room))
    if not any(calls):
        return selection
    return replace(selection, second_sites=tuple(calls))


def _count_files(files: Iterable[PatchedFile]) -> int:
    """Return the tokens of files in a prompt."""
    return sum(TOKENS_PER_FILE + estimate_tokens(file.numbered) for file in files)
