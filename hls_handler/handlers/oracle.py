"""Handler for `/test-oracle`: says which tests to run for a pull request, as Claude or a service
chooses them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pydantic import ValidationError

from hls_handler.actions import Action
from hls_handler.analysis import Analysis, ChosenTest, ChosenTests, ReplyFields, estimate_tokens
from hls_handler.deliveries import End
from hls_handler.errors import Permanent
from hls_handler.events import Event, PullRequest
from hls_handler.github.source import read_optional
from hls_handler.handlers.handler import (
    Handler,
    SkipReason,
    answer,
    check_conversation,
    field_types,
    newest_within_budget,
    plan_comment,
)
from hls_handler.handlers.job import Conversation, FactSource, Job, PromptLimits

TEST_ORACLE = "test_oracle"
"""Stands for an event's name: GitHub sends the command as a comment."""

TEST = re.compile("test|spec", re.IGNORECASE)
MAX_CHANGED = 200
MAX_TESTS = 400
HEALTH_TIMEOUT_S = 5.0
TIMEOUT_S = 60.0

Service = Callable[[str, object, float], bytes]
"""Sends a path, JSON (None: a GET) and a timeout to the service. Raises `Permanent`."""


@dataclass(frozen=True, slots=True)
class OracleFacts:
    pull_request: PullRequest
    changed: tuple[str, ...]  # paths
    tests: tuple[str, ...] = ()  # paths, the nearest to the changed files first
    left_out: int = 0  # changed files and test files beyond the limits
    no_mirror: str = ""  # why only changed files are among `tests`
    chosen: ChosenTests | None = None  # by the service; None without one
    not_healthy: str = ""  # why the service was not asked
    failure: str = ""  # why its answer cannot be used


@dataclass(frozen=True, slots=True)
class Choice:
    tests: tuple[ChosenTest, ...]
    is_of_service: bool
    is_service_down: bool
    left_out: int
    no_mirror: str
    has_failed: bool = False  # True: the service was asked, and its answer cannot be used


class OracleHandler(Handler):
    family = "test_oracle"
    prompt = "test_oracle/choose"
    replies = frozenset({"chosen_tests"})
    facts_type = OracleFacts
    variable_types: Mapping[str, object] = {
        **field_types(OracleFacts, "pull_request"),
        "changed_paths": str,
        "test_paths": str,
    }
    comment_variable_types: Mapping[str, object] = {"choice": Choice}

    def __init__(self, service: Service | None = None) -> None:
        """`service` is asked in place of Claude; None: Claude is asked."""
        self._service = service

    def run(self, job: Job) -> End:
        facts = job.record(OracleFacts, self._gather)
        job.choose(Conversation(facts.pull_request.number, is_pull_request=True))
        variables = self.variables(facts)
        list_variables = partial(list_comment_variables, facts)
        answered = answer(job, variables, list_variables, find_skip_reason(facts))
        return job.post(*plan(job.event, answered.analysis), reason=answered.reason)

    def variables(self, facts: OracleFacts) -> Mapping[str, object]:
        return {
            "pull_request": facts.pull_request,
            "changed_paths": "\n".join(facts.changed),
            "test_paths": "\n".join(facts.tests),
        }

    def _gather(self, source: FactSource) -> OracleFacts:
        facts = gather(source, finds_tests=self._service is None)
        if self._service is None:
            return facts
        return _ask(self._service, source.event.repository.full_name, facts)


def gather(source: FactSource, *, finds_tests: bool = True) -> OracleFacts:
    """Read the changed files, and with `finds_tests` the test files that Claude can choose from."""
    event = source.event
    reader = source.reader
    assert event.conversation is not None  # parse_event rejects a comment event without one
    pull = reader.pull_request(event.conversation.number)
    check_conversation(event, pull)
    files = reader.files(pull.number)
    changed = _choose_first([file.path for file in files], MAX_CHANGED, source.limits)
    left_out = len(files) - len(changed)
    if not finds_tests:
        return OracleFacts(pull, changed, left_out=left_out)
    at_head = reader.files_at(pull.head_sha)
    paths = [*at_head.list_files(("",))]
    no_mirror = at_head.no_mirror
    if no_mirror:
        paths = [file.path for file in files if file.status != "removed"]
    names = {name for path in changed for name in path.split("/")}
    tests = sorted(
        filter(TEST.search, paths),
        key=lambda path: (-len(names.intersection(path.split("/"))), path),
    )
    chosen_tests = _choose_first(tests, MAX_TESTS, source.limits)
    left_out += len(tests) - len(chosen_tests)
    return OracleFacts(pull, changed, chosen_tests, left_out, no_mirror)


def _choose_first(paths: Sequence[str], max_paths: int, limits: PromptLimits) -> tuple[str, ...]:
    chosen = [
        path for path in paths if path.isprintable() and not limits.ignored_paths.excludes(path)
    ][:max_paths]
    last_first = newest_within_budget(chosen[::-1], limits.input_tokens // 2, estimate_tokens)
    return last_first[::-1]


def find_skip_reason(facts: OracleFacts) -> SkipReason | None:
    """Return why Claude is not asked, with the reply in its place; None to ask."""
    nothing = ChosenTests(tests=[])
    if facts.chosen is not None:
        return SkipReason("the service of test_oracle.url was asked", facts.chosen)
    if facts.not_healthy:
        reason = (
            "the service of test_oracle.url was not asked, because of its /health:"
            f" {facts.not_healthy}"
        )
        return SkipReason(reason, nothing)
    if facts.failure:
        return SkipReason(facts.failure, nothing)
    if facts.changed and facts.tests:
        return None
    return SkipReason("there is no test file", nothing)


def list_comment_variables(facts: OracleFacts, reply: ReplyFields) -> Mapping[str, object]:
    assert isinstance(reply, ChosenTests)
    is_of_service = facts.chosen is not None
    tests = tuple(test for test in reply.tests if is_of_service or test.path in facts.tests)
    choice = Choice(
        tests,
        is_of_service,
        is_service_down=bool(facts.not_healthy),
        left_out=facts.left_out,
        no_mirror=facts.no_mirror,
        has_failed=bool(facts.failure),
    )
    return {"choice": choice}


def plan(event: Event, analysis: Analysis) -> tuple[Action, ...]:
    assert event.comment is not None
    return plan_comment(analysis, f"{OracleHandler.family}-{event.comment.id}", create=True)


def _ask(service: Service, repository: str, facts: OracleFacts) -> OracleFacts:
    """Return the facts with the answer of the service, or with the reason why there is none."""
    pull = facts.pull_request
    question = {
        "repository": repository,
        "number": pull.number,
        "head_sha": pull.head_sha,
        "files": facts.changed,
    }
    health = read_optional(lambda: service("/health", None, HEALTH_TIMEOUT_S), b"")
    if health.problem:
        return replace(facts, not_healthy=health.problem)
    try:
        chosen = ChosenTests.model_validate_json(service("", question, TIMEOUT_S))
    except Permanent as exc:
        return replace(facts, failure=f"test_oracle.url: {exc}")
    except ValidationError:
        unexpected = "the answer is not the JSON that docs/events.md describes"
        return replace(facts, failure=f"test_oracle.url: {unexpected}")
    return replace(facts, chosen=chosen)
