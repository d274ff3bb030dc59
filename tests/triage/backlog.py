"""A repository with open issues that are older than HLS, and triage runs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hls_handler.github.client import ReadOnlyGithub
from hls_handler.store.triage import Progress, TriageRun
from hls_handler.triage.plan import Plan, Planner, Terms
from hls_handler.triage.runs import start, undo
from tests.engine.fakes import HLS
from tests.handlers.conversation import REPOSITORY, Home, Talk, person

BY = "command line (mona on host)"


@dataclass
class Backlog:
    home: Home

    def add_issue(self, number: int, **known: Any) -> Talk:
        """Open an issue in the stand-in GitHub, without a delivery."""
        issue: dict[str, Any] = {
            "title": f"Crash {number}",
            "body": "It crashes.",
            "user": person("mona"),
        }
        issue |= {"number": number, "state": "open", "labels": [], **known}
        self.home.seed("issues", "opened", issue=issue)
        return Talk(self.home, number)

    def plan(
        self,
        limit: int = 50,
        max_usd: float = 1.0,
        *,
        comments: bool = False,
        repository: str = REPOSITORY,
    ) -> Plan:
        world = self.home.world
        github = ReadOnlyGithub(self.home.client._api, None, assume_open=False, account=HLS)
        planner = Planner(world.store, world.settings, world.prompts, github)
        return planner.plan(Terms(repository, limit, max_usd, comments))

    def start(self, **terms: Any) -> TriageRun:
        return self.start_of(self.plan(**terms))

    def start_of(self, plan: Plan) -> TriageRun:
        return start(self.home.world.store, plan, by=BY)

    def process(self) -> None:
        """Process all deliveries, as a service with one worker does."""
        world = self.home.world
        for _ in range(200):
            wait_s = world.store.queue.seconds_until_due()
            if wait_s is None:
                return
            world.advance(max(wait_s, 0.0))
            self.home.process()
        raise AssertionError("deliveries are left")

    def run(self, **terms: Any) -> Progress:
        run = self.start(**terms)
        self.process()
        return self.progress(run)

    def undo(self, run: TriageRun) -> Progress:
        undo(self.home.world.store, run, by=BY)
        self.process()
        return self.progress(run)

    def progress(self, run: TriageRun) -> Progress:
        store = self.home.world.store
        found = store.triage.find(run.id)
        assert found is not None
        return store.triage.load_progress(found)


def skipped(plan: Plan) -> dict[int, str | None]:
    return {one.number: one.skipped for one in plan.issues}
