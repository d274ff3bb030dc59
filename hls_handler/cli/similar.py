"""`hls similar`: the older issues that HLS compares with an issue, and the texts of issues that it
has stored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Annotated

import typer

from hls_handler.cli.github_names import require_conversation, require_repository
from hls_handler.cli.options import (
    AsJson,
    Config,
    Limit,
    describe_person,
    fail,
    lacks_github_token,
    load,
    require_existing_store,
    utc_now,
)
from hls_handler.cli.terminal import (
    Cell,
    Column,
    is_terminal,
    print_json,
    print_line,
    print_table,
    track,
    waiting,
)
from hls_handler.errors import SettingsError, StepFailed, with_remedy
from hls_handler.github.client import connect_read_only
from hls_handler.github.reader import MAX_ISSUE_PAGES, GithubReader, WireRepository
from hls_handler.handlers.similar import MAX_SHOWN, read_candidates
from hls_handler.settings.effective import RepositoryTable
from hls_handler.storage import Storage
from hls_handler.store.repositories import text_of_issue
from hls_handler.store.texts import issue_scope
from hls_handler.wording import count, is_or_are

COLUMNS = (
    Column("SCORE", is_number=True),
    Column("ISSUE", is_number=True),
    Column("STATE"),
    Column("TITLE", is_wide=True),
)
PER_PAGE = 100
# open issues and pull requests of a repository that --fill reads
MAX_LISTED = PER_PAGE * MAX_ISSUE_PAGES

# in the name of an issue, and not in that of a repository
NUMBERED = re.compile(r"#|/(?:issues|pull)/")


def similar(
    target: Annotated[
        str,
        typer.Argument(
            metavar="OWNER/REPO[#N]", help="An issue or a repository, or the URL of one."
        ),
    ],
    fill: Annotated[
        bool,
        typer.Option(
            "--fill",
            help="Read all open issues of the repository from GitHub, and store their texts.",
        ),
    ] = False,
    as_json: AsJson = False,
    limit: Limit = None,
    config: Config = None,
) -> None:
    """Print the older issues that HLS compares with an issue.

    GitHub is read for the issue and at most five candidates; Claude is shown the first three that
    are open. Only stored issues are found: those of events while similar.enabled is true, and those
    that --fill reads. For a repository, prints how many are stored and how many requests --fill
    takes. --fill reads at most 10,000 open issues and pull requests, stores the issues page by
    page, and deletes the texts of issues that are no longer open. Run it again after an
    interruption.

    Exit codes: 0 printed or stored; 1 there is no database, or GitHub returned an error; 2 usage
    error, or unusable settings or database.
    """
    settings = load(config, credentials=False)
    base_url = settings.github.base_url
    number = None
    if NUMBERED.search(target):
        repository, number = require_conversation(target, base_url=base_url)
    else:
        repository = require_repository(target, base_url=base_url)
    if fill and number is not None:
        raise typer.BadParameter("--fill reads all issues of a repository; write it as OWNER/REPO")
    effective = RepositoryTable(settings).find(repository)
    if as_json and number is None:
        raise typer.BadParameter("--json is of an issue; write it as OWNER/REPO#N")
    is_off = effective is None or not effective.similar.enabled
    if is_off and not as_json:
        print_line(
            f"similar.enabled is false for {repository}: new issues are not compared with older"
            " ones"
        )
    with require_existing_store(settings) as store:
        try:
            anonymous = lacks_github_token(settings)
            with closing(
                connect_read_only(settings.github, now=utc_now, anonymous=anonymous)
            ) as github:
                reader = github.reader(repository)
                found = reader.repository()
                if number is not None:
                    stored = _count_stored(store, found)
                    listed = list(
                        islice(_compare(store, reader, found, f"{repository}#{number}"), limit)
                    )
                    if as_json:
                        print_json({"stored": stored, "similar": list(map(asdict, listed))})
                    else:
                        _show(repository, number, stored, listed)
                    return
                _describe_fill(store, found, repository)
                if fill:
                    store.audit.record(describe_person(), "fill", repository)
                    _fill(store, reader, found)
        except (StepFailed, SettingsError) as exc:
            fail(with_remedy(exc))


def _describe_fill(store: Storage, found: WireRepository, repository: str) -> None:
    stored = _count_stored(store, found)
    print_line(f"{count(stored, 'issue')} of {repository} {is_or_are(stored)} stored")
    requests = max(1, math.ceil(min(found.open_issues_count, MAX_LISTED) / PER_PAGE))
    print_line(
        f"GitHub has {found.open_issues_count} open issues and pull requests; --fill reads them"
        f" with {count(requests, 'request')}"
    )


@dataclass(frozen=True, slots=True)
class _Similar:
    score: float
    number: int
    state: str = "unknown"
    title: str = "(GitHub does not show it)"


def _compare(
    store: Storage, reader: GithubReader, found: WireRepository, name: str
) -> Iterator[_Similar]:
    issue = reader.issue(int(name.rpartition("#")[2]))
    if issue.is_pull_request:
        fail(f"{name} is a pull request; only issues are compared")
    history = store.repositories.history(found.id, "")
    with waiting("Reading similar issues from GitHub"):
        for stored, issue_now in read_candidates(issue, reader, history):
            one = _Similar(stored.score, stored.number)
            if issue_now is not None:
                one = replace(one, state=issue_now.state, title=issue_now.title)
            yield one


def _show(repository: str, number: int, stored: int, listed: Sequence[_Similar]) -> None:
    if not stored:
        print_line(
            f"no issue of {repository} is stored; `hls similar {repository}` says what it takes to"
            " read them"
        )
        return
    total = f"{count(stored, 'issue')} stored; {len(listed)} similar to {repository}#{number}"
    rows = [(f"{one.score:.2f}", f"#{one.number}", one.state, one.title) for one in listed]
    if is_terminal() and rows:
        print_table(COLUMNS, [list(map(Cell, row)) for row in rows], total)
    else:
        print_line(total)
        for score, issue_number, state, title in rows:
            print_line(f"{score:>5}  {issue_number:>7}  {state:<7}  {title}")
    if rows:
        print_line(f"Claude is shown the first {MAX_SHOWN} that are open")


def _count_stored(store: Storage, found: WireRepository) -> int:
    return len(store.texts.versions(issue_scope(found.id)))


def _fill(store: Storage, reader: GithubReader, found: WireRepository) -> None:
    """Store the open issues. Delete the texts of other issues, unless GitHub has more than were
    read.
    """
    scope = issue_scope(found.id)
    listed = set[str]()
    before = store.texts.versions(scope).keys()
    pages = math.ceil(min(found.open_issues_count, MAX_LISTED) / PER_PAGE)
    for page in track(reader.open_issues(), "Reading pages of open issues", total=pages):
        store.texts.replace(scope, (), map(text_of_issue, page))
        listed |= {str(issue.number) for issue in page}
    closed = set[str]()
    if found.open_issues_count <= MAX_LISTED:
        closed = before - listed
    store.texts.replace(scope, closed, ())
    store.texts.update_statistics()
    stored = _count_stored(store, found)
    print_line(
        f"{count(len(listed), 'open issue')} read, {len(closed)} deleted; {stored}"
        f" {is_or_are(stored)} stored"
    )
