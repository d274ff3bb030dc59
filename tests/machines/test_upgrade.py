"""An upgrade of a database that a killed process left with work in flight."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text

from hls_handler.batches.triage import undo
from hls_handler.db.tables import findings
from hls_handler.errors import StoreUnavailable
from hls_handler.store.storage import Storage
from hls_sandbox.objects import Conversation
from tests.e2e.service import ROOT, Service, settings_text, wait_for_batch, wait_until
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox
from tests.machines.upgrade import FOLLOWING, HOME, CheckoutService, copy_with_a_later_column
from tests.postgres import Cluster

PROCESSED = 701
COMMENTED = 702  # killed after GitHub had the comment, before its outcome was stored
WAITING = 703
TRIAGED = 712  # of a batch
TRIAGED_IN_PART = 711  # of that batch, killed like `COMMENTED`
PUSH = "feature-push"  # killed after GitHub had the new text of the summary
BATCH = 1


@dataclass
class World:
    """GitHub and Claude, and the settings of the services that use them."""

    sandbox: Sandbox
    settings: Path
    url: str

    def find(self, number: int) -> Conversation:
        conversation = self.sandbox.state.conversation(HOME.full_name, number)
        assert conversation is not None
        return conversation

    @property
    def pull(self) -> Conversation:
        return next(one for one in self.sandbox.state.conversations() if one.kind == "pull")

    @property
    def summaries(self) -> list[str]:
        """The comments on the pull request, without the port of the sandbox in their links."""
        return [re.sub(r"127\.0\.0\.1:\d+", "", one.body) for one in self.pull.comments]

    def open_issue(self, number: int) -> Mapping[str, Any]:
        payload: dict[str, Any] = json.loads(HOME.body("demo/bug"))
        payload["issue"] |= {"number": number, "id": 444_500_000 + number}
        self.sandbox.state.seed("issues", payload)
        return payload

    def deliver_issue(self, service: Service, number: int) -> None:
        body = json.dumps(self.open_issue(number)).encode()
        assert service.deliver("issues", body, guid=f"issue-{number}").status == 202

    def deliver_pull(self, service: Service, name: str) -> None:
        body = HOME.body(f"demo/{name}")
        self.sandbox.state.seed("pull_request", json.loads(body))
        assert service.deliver("pull_request", body, guid=name).status == 202

    def shown(self, number: int) -> tuple[Counter[str], tuple[str, ...], list[str]]:
        """Return how often each label was set, the present labels, and the first words of each
        comment.
        """
        issue = self.find(number)
        set_labels = Counter(one.detail for one in issue.events if one.kind == "labeled")
        first_words = [one.body.split(" ", 3)[:3] for one in issue.comments]
        return set_labels, issue.labels, [" ".join(words) for words in first_words]


@contextmanager
def open_world(folder: Path, url: str) -> Iterator[World]:
    with Sandbox() as sandbox:
        settings = folder / "settings.yaml"
        settings.write_text(settings_text(sandbox, storage_url=url))
        yield World(sandbox, settings, url)


@pytest.fixture
def url(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if engine == "sqlite":
        return f"sqlite:///{tmp_path}/hls.db"
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.url(cluster.create())


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_version_with_a_later_column_continues_the_work_of_a_killed_one_and_doubles_nothing(
    url: str, tmp_path: Path
) -> None:
    labels = ("bug", "priority-high", "difficulty-moderate", "component-backend")
    once = (Counter(labels), labels, ["You can narrow"])
    undone = (Counter(labels), (), ["Withdrawn: a maintainer"])
    calls = {
        f"issue-{PROCESSED}": ["ok"],
        f"issue-{COMMENTED}": ["ok"],
        f"issue-{WAITING}": ["ok"],
        f"batch-{BATCH}-{TRIAGED}": ["ok"],
        f"batch-{BATCH}-{TRIAGED_IN_PART}": ["ok"],
        "feature": ["ok"],
        PUSH: ["ok"],
    }
    later = copy_with_a_later_column(tmp_path / "later")
    with open_world(tmp_path, url) as world:
        # this version begins all work, and is killed
        log = world.settings.with_name("earlier.log")
        service = CheckoutService(world.settings, 0, log, world.url, folder=ROOT)
        hanging = (
            ("POST", f"/issues/({COMMENTED}|{TRIAGED_IN_PART})/comments$"),
            ("PATCH", "/issues/comments/[0-9]+$"),
        )
        try:
            service.start()
            world.deliver_issue(service, PROCESSED)
            world.deliver_pull(service, "feature")
            wait_until(lambda: service.finished == 2)
            for number in (TRIAGED_IN_PART, TRIAGED):
                world.open_issue(number)
            for method, path in hanging:
                world.sandbox.faults.add(
                    Fault(effect="hang_after", method=method, path=path, times=None)
                )
            with service.triage():
                wait_until(lambda: bool(world.find(TRIAGED_IN_PART).comments))
                assert service.finished == 3
                world.deliver_issue(service, COMMENTED)
                world.deliver_pull(service, PUSH)
                wait_until(lambda: bool(world.find(COMMENTED).comments))
                wait_until(lambda: bool(world.pull.comments[0].edits))
                world.deliver_issue(service, WAITING)
                service.stop(signal.SIGKILL)
        finally:
            service.stop(signal.SIGKILL)
            world.sandbox.faults.clear()
        world.sandbox.requests.clear()
        # the version that follows continues it
        on_lines = world.pull.review_comments()
        summaries = world.summaries
        with closing(Storage.open(world.url)) as store:
            store.queue.release_all_leases()  # on SQLite the service does that itself
            log = world.settings.with_name("newer.log")
            service = CheckoutService(world.settings, 0, log, world.url, folder=later)
            try:
                service.start()
                # a comment may appear within a minute
                wait_until(lambda: is_idle(store), within_s=180)
                batch = store.batches.find(BATCH)
                assert batch is not None
                wait_for_batch(store, batch)
                for number in (PROCESSED, COMMENTED, WAITING, TRIAGED, TRIAGED_IN_PART):
                    assert (number, world.shown(number)) == (number, once)
                assert list_outcomes(store, calls) == calls
                assert world.pull.review_comments() == on_lines
                assert world.summaries == summaries
                assert finding_states(store) == {"open": 4, "gone": 3}
                assert list_created(world.sandbox) == [
                    f"issues/{WAITING}/comments",
                    f"issues/{WAITING}/labels",
                    f"statuses/{world.pull.head_sha}",
                ]
                assert store.batches.load_progress(batch).state == "done"
                undo(store, batch, by="mona")
                wait_for_batch(store, batch)
                for number in (TRIAGED, TRIAGED_IN_PART):
                    assert (number, world.shown(number)) == (number, undone)
            finally:
                service.stop(signal.SIGKILL)
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT DISTINCT later FROM deliveries")).scalars().all()
    engine.dispose()
    assert found == [1]  # in rows of both versions
    newer = f"another version of HLS (its tables are version {FOLLOWING}, this HLS supports "
    with pytest.raises(StoreUnavailable, match=re.escape(newer)):
        Storage.open(url)


def is_idle(store: Storage) -> bool:
    queue = store.deliveries.queue_state()
    return queue.queued == 0 and queue.running == 0


def list_outcomes(store: Storage, guids: Iterable[str]) -> Mapping[str, list[str | None]]:
    """Return the outcomes of the calls to Claude by delivery."""
    return {guid: [call.outcome for call in store.calls.calls_of(guid)] for guid in guids}


def finding_states(store: Storage) -> Mapping[str, int]:
    with store.database.reading() as connection:
        return Counter(connection.execute(select(findings.c.state)).scalars())


def list_created(sandbox: Sandbox) -> list[str]:
    requests = sandbox.requests.all("github")
    paths = [one.path for one in requests if one.method == "POST" and one.path != "/graphql"]
    return sorted(path.removeprefix(f"/repos/{HOME.full_name}/") for path in paths)
