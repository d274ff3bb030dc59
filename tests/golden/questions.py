"""From a golden case to what a trial needs, by the service's own handlers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

from hls_handler.events import Event, PullRequest, parse_event
from hls_handler.github.client import ReadOnlyGithub
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import (
    ChangedFile,
)
from hls_handler.handlers.registry import handler_for
from hls_handler.prompting.prompt import Library
from hls_handler.routing import Rule
from hls_handler.sandbox.objects import Job
from hls_handler.settings.effective import EffectiveSettings, RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.sections import Repository
from hls_handler.trials.replay import StoredFacts, read_unstored
from tests.golden.cases import Case, CaseError, IssueCase, PublicPull, PullRequestCase, WorkflowCase
from tests.handlers import conversation
from tests.handlers.events import RUN, START, run_event
from tests.handlers.world import count_changes, event, issue, open_github, pull_request

REPOSITORY = "octo/hello"  # the repository of the events of tests/handlers


def to_question(
    case: Case,
    settings: Settings,
    library: Library,
    prompts: Mapping[str, str],
    github: ReadOnlyGithub | None = None,
) -> tuple[StoredFacts, str]:
    """Return the facts of a case, and the name of the first prompt.

    `prompts` maps a folder to the prompt to use: {"issues": "issues/strict"}.

    Without an entry, it is the prompt that the service would use for the event. Raises `CaseError`
    if there is none, and what GitHub raises about a pull request of a public set.
    """
    if isinstance(case, PullRequestCase) and case.reported:  # every finding is asked about
        review = settings.review.model_copy(
            update={"verify": True, "check": True, "fail_on": "low"}
        )
        settings = settings.model_copy(update={"review": review})
    if isinstance(case, PullRequestCase) and case.public is not None:
        assert github is not None
        event, reader = _read_event(case, case.public, github)
    else:
        event, reader = to_event(case)
    handler, effective = handler_for(event.name), find_effective_settings(settings)
    prompt = prompts.get(handler.family) or _find_prompt(event.key, effective, library)
    rule = Rule(event.key, prompt, effective, library.prompts[prompt].path)
    source = read_unstored(event, reader, settings, library, rule)
    if isinstance(case, IssueCase) and case.documents:
        documents = tuple(section.to_section() for section in case.documents)
        source = replace(source, facts=replace(source.facts, documents=documents))
    return source, prompt


def find_effective_settings(settings: Settings) -> EffectiveSettings:
    """Return the global settings, as they apply to a repository without an entry of its own."""
    found = RepositoryTable(
        settings.model_copy(update={"repositories": (Repository(name=REPOSITORY),)})
    ).find(REPOSITORY)
    assert found is not None  # the only entry matches
    return found


def _find_prompt(event_key: str, effective: EffectiveSettings, library: Library) -> str:
    chosen = effective.find_prompt(event_key)
    names = (chosen.prompt,) if chosen is not None else library.on(event_key)
    if not names or not names[0]:
        raise CaseError([f"no prompt is used for {event_key}; name one with --prompt"])
    return names[0]


class _PublicReader:
    """A pull request as it was just opened, with what GitHub has beside it: its repository at the
    head commit, guidance, issues.
    """

    def __init__(
        self, public: GithubReader, pull: PullRequest, files: Sequence[ChangedFile]
    ) -> None:
        self.review_context = public.review_context
        self.files_at = public.files_at
        self.labels = public.labels
        self._pull = pull
        self._files = tuple(files)

    def pull_request(self, number: int) -> PullRequest:
        return self._pull

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        return self._files


def _read_event(
    case: PullRequestCase, public: PublicPull, github: ReadOnlyGithub
) -> tuple[Event, GithubReader]:
    """Read a pull request as if it were just opened; with the head, description and diff of the set
    if that has them.

    Its labels are left out, because people set them after the review.
    """
    found = github.opened(public.repository, public.number)
    opened = parse_event(found.name, "guid", json.dumps(found.payload).encode())
    reader = github.reader(public.repository)
    if opened.pull_request is None:
        raise CaseError([f"{case.name}: {public.repository}#{public.number} is not a pull request"])
    files = case.files or reader.files(public.number)
    before = {"state": "open", "locked": False, "draft": False, "merged": False, "labels": ()}
    changes: dict[str, Any] = {**before, **count_changes(files)}
    if public.head:
        changes |= {"head_sha": public.head, "title": case.title, "body": case.description}
    pull = replace(opened.pull_request, **changes)
    opened = replace(opened, pull_request=pull, is_recent=True)
    return opened, cast("GithubReader", _PublicReader(reader, pull, files))


def to_event(case: Case) -> tuple[Event, GithubReader]:
    match case:
        case PullRequestCase():
            pull = pull_request(
                title=case.title, body=case.description, **count_changes(case.files)
            )
            github = open_github(pull, case.files, head_files=case.repository)
            return event(pull), github.reader(REPOSITORY)
        case IssueCase():
            opened = issue(title=case.title, body=case.body, labels=())
            return event(opened), open_github(opened).reader(REPOSITORY)
        case WorkflowCase():
            pull = pull_request(head_sha=RUN.head_sha, head_ref=RUN.head_branch)
            run = replace(RUN, name=case.workflow)
            files = [
                ChangedFile(path, None, "modified", additions=1, deletions=1, patch=None)
                for path in case.changed
            ]
            github = open_github(pull, files)
            github.put_run({**conversation.RUN, "name": case.workflow}, [_to_job(case)])
            return run_event(run), github.reader(REPOSITORY)


# each step of a case begins so many seconds after the last one; its log lines are 1 ms apart
STEP_S = 10


def _to_job(case: WorkflowCase) -> Job:
    steps: list[dict[str, object]] = []
    lines: list[str] = []
    for number, (name, texts) in enumerate(case.log, start=1):
        began = START + timedelta(seconds=STEP_S * number)
        conclusion = "failure" if name == case.failed else "success"
        ended = began + timedelta(seconds=STEP_S - 1)
        times = {"started_at": began.isoformat(), "completed_at": ended.isoformat()}
        steps.append({"number": number, "name": name, "conclusion": conclusion, **times})
        for index, text in enumerate(texts):
            lines.append(f"{began + timedelta(milliseconds=index):%Y-%m-%dT%H:%M:%S.%f}0Z {text}")
    return conversation.job(case.workflow, "\n".join(lines), steps=steps)
