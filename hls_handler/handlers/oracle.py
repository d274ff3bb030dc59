"""Handler for `/test-oracle`: says which tests to run for a pull request, as Claude or a service
chooses them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from hls_handler.actions import Action
from hls_handler.analysis import Analysis, ChosenTest, ChosenTests, Reply
from hls_handler.errors import Permanent
from hls_handler.events import Event, PullRequest
from hls_handler.handlers.handler import (
    Handler,
    PromptLimits,
    SkipReason,
    answer,
    check_conversation,
    field_types,
    newest_within_budget,
    plan_comment,
)
from hls_handler.handlers.job import Conversation, Job, Result
from hls_handler.handlers.reader import Reader, RepositoryHistory, read_optional
from hls_handler.question import (
    estimate_tokens,
)

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


class OracleHandler(Handler[OracleFacts]):
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

    def run(self, job: Job) -> Result:
        facts = job.gather()
        job.choose(Conversation(facts.pull_request.number, is_pull_request=True))
        analysis, reason = answer(job, facts, self.skip_reason(facts))
        return job.post(facts, analysis, self.plan(job.event, facts, analysis), reason)

    def gather(
        self, event: Event, reader: Reader, history: RepositoryHistory, limits: PromptLimits
    ) -> OracleFacts:
        assert event.issue is not None  # parse_event rejects a comment event without one
        pull = reader.pull_request(event.issue.number)
        check_conversation(event, pull)

        def choose_first(paths: list[str], most: int) -> tuple[str, ...]:
            shown = [
                path
                for path in paths
                if path.isprintable() and not limits.ignored_paths.excludes(path)
            ][:most]
            return newest_within_budget(shown[::-1], limits.input_tokens // 2, estimate_tokens)[
                ::-1
            ]

        files = reader.files(pull.number)
        changed = choose_first([file.path for file in files], MAX_CHANGED)
        if self._service is not None:
            facts = OracleFacts(pull, changed, left_out=len(files) - len(changed))
            return _ask(self._service, event.repository.full_name, facts)
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
        shown = choose_first(tests, MAX_TESTS)
        return OracleFacts(
            pull, changed, shown, len(files) - len(changed) + len(tests) - len(shown), no_mirror
        )

    def skip_reason(self, facts: OracleFacts) -> SkipReason | None:
        if facts.chosen is not None:
            return SkipReason("the service of test_oracle.url was asked", facts.chosen)
        if facts.not_healthy:
            reason = (
                "the service of test_oracle.url was not asked, because of its /health:"
                f" {facts.not_healthy}"
            )
            return SkipReason(reason, ChosenTests(tests=[]))
        if facts.failure:
            return SkipReason(facts.failure, ChosenTests(tests=[]))
        return (
            None
            if facts.changed and facts.tests
            else SkipReason("there is no test file", ChosenTests(tests=[]))
        )

    def variables(self, facts: OracleFacts) -> Mapping[str, object]:
        changed_paths = "\n".join(facts.changed)
        test_paths = "\n".join(facts.tests)
        return {
            "pull_request": facts.pull_request,
            "changed_paths": changed_paths,
            "test_paths": test_paths,
        }

    def comment_variables(self, facts: OracleFacts, reply: Reply) -> Mapping[str, object]:
        assert isinstance(reply, ChosenTests)
        is_of_service = facts.chosen is not None
        tests = tuple(one for one in reply.tests if is_of_service or one.path in facts.tests)
        choice = Choice(
            tests,
            is_of_service,
            is_service_down=bool(facts.not_healthy),
            left_out=facts.left_out,
            no_mirror=facts.no_mirror,
            has_failed=bool(facts.failure),
        )
        return {"choice": choice}

    def plan(self, event: Event, facts: OracleFacts, analysis: Analysis) -> tuple[Action, ...]:
        assert event.comment is not None
        return plan_comment(analysis, f"{self.family}-{event.comment.id}", create=True)


def _ask(service: Service, repository: str, facts: OracleFacts) -> OracleFacts:
    """Return the facts with the answer of the service, or with the reason why there is none."""
    pull = facts.pull_request
    question = {
        "repository": repository,
        "number": pull.number,
        "head_sha": pull.head_sha,
        "files": facts.changed,
    }
    _, not_healthy = read_optional(lambda: service("/health", None, HEALTH_TIMEOUT_S), b"")
    if not_healthy:
        return replace(facts, not_healthy=not_healthy)
    try:
        return replace(
            facts, chosen=ChosenTests.model_validate_json(service("", question, TIMEOUT_S))
        )
    except Permanent as exc:
        return replace(facts, failure=f"test_oracle.url: {exc}")
    except ValidationError:
        return replace(
            facts,
            failure="test_oracle.url: the answer is not the JSON that docs/events.md describes",
        )
