"""A repository with open issues that are older than HLS, and batches of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hls_handler.batches.preview import Preview, read_target
from hls_handler.batches.triage import plan, undo
from hls_handler.github.client import ReadOnlyGithub
from hls_handler.settings.effective import RepositoryTable
from hls_handler.store.batches import Batch, Progress
from tests.handlers.conversation import REPOSITORY, Home, Talk, person
from tests.handlers.world import HLS

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
    ) -> Preview:
        world = self.home.world
        github = ReadOnlyGithub(self.home.client._api, None, assume_open=False, account=HLS)
        effective = RepositoryTable(world.settings).find(repository)
        assert effective is not None
        target = read_target(world.settings, effective, github, repository)
        return plan(target, world.store, world.prompts, limit, max_usd, comments=comments)

    def start(self, **terms: Any) -> Batch:
        return self.start_of(self.plan(**terms))

    def start_of(self, preview: Preview) -> Batch:
        store = self.home.world.store
        return self.find(store.batches.begin(preview.new, preview.subjects, by=BY))

    def find(self, batch: int) -> Batch:
        found = self.home.world.store.batches.find(batch)
        assert found is not None
        return found

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
        batch = self.start(**terms)
        self.process()
        return self.progress(batch)

    def undo(self, batch: Batch) -> Progress:
        undo(self.home.world.store, batch, by=BY)
        self.process()
        return self.progress(batch)

    def progress(self, batch: Batch) -> Progress:
        return self.home.world.store.batches.load_progress(self.find(batch.id))


def list_chosen(preview: Preview) -> list[int | None]:
    return [subject.number for subject in preview.subjects]
