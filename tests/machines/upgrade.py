"""An upgrade with work in flight: a version is killed while it works, and the version that follows
continues with the same database.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from hls_handler.batches.triage import undo
from hls_handler.db.migrate import REVISIONS
from hls_handler.db.tables import findings
from hls_handler.store.storage import Storage
from hls_sandbox.objects import Conversation
from tests.crash.scenarios import FreshRepository
from tests.e2e.service import ROOT, Service, settings_text, wait_for_batch, wait_until
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox

HOME = FreshRepository(1)
PROCESSED = 701
COMMENTED = 702  # killed after GitHub had the comment, before its outcome was stored
WAITING = 703
TRIAGED = 712  # of a batch
TRIAGED_IN_PART = 711  # of that batch, killed like `COMMENTED`
PUSH = "feature-push"  # killed after GitHub had the new text of the summary
BATCH = 1

NEWEST = REVISIONS[-1]
FOLLOWING = f"{NEWEST}.1"
MIGRATION = f"""\
import sqlalchemy as sa
from alembic import op

revision = "{FOLLOWING}"
down_revision = "{NEWEST}"


def upgrade() -> None:
    op.add_column(
        "deliveries", sa.Column("later", sa.Integer(), server_default="1", nullable=False)
    )
"""
GUID = '    Column("guid", Text, nullable=False, unique=True),\n'
LATER = '    Column("later", Integer, nullable=False, server_default="1"),\n'


def copy_with_a_later_column(folder: Path) -> Path:
    """Return a checkout of the version that follows this one."""
    package = folder / "hls_handler"
    shutil.copytree(ROOT / "hls_handler", package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("config", "docs", "hls_sandbox", "prompts", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    (package / "db/migrations/versions/following.py").write_text(MIGRATION)
    replace_once(package / "db/tables.py", GUID, GUID + LATER)
    replace_once(package / "db/migrate.py", f'"{NEWEST}",)', f'"{NEWEST}", "{FOLLOWING}")')
    return folder


def replace_once(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


@dataclass
class CheckoutService(Service):
    """A service of the version in the folder, with its `.venv`."""

    folder: Path = Path()

    @property
    def command(self) -> list[str]:
        return [str(self.folder / ".venv/bin/python"), "-m", "hls_handler"]

    def start(self) -> Service:
        self.begin_log()
        command = [*self.command, "serve", "--config", str(self.settings)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        return self.until_up()

    @contextmanager
    def triage(self) -> Iterator[None]:
        """Start a batch of open issues with comments, and watch it."""
        options = ["--comments", "--yes", "--config", str(self.settings)]
        command = [*self.command, "batch", "triage", HOME.full_name, *options]
        watcher = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            watcher.terminate()
            watcher.wait()


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


def leave_work(world: World) -> None:
    """Let this version begin all work, and kill it."""
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


LABELS = ("bug", "priority-high", "difficulty-moderate", "component-backend")
ONCE = (Counter(LABELS), LABELS, ["You can narrow"])
UNDONE = (Counter(LABELS), (), ["Withdrawn: a maintainer"])


def continue_work(world: World, folder: Path) -> None:
    """Let the version in `folder` continue all work, and compare what it does with what was
    left.
    """
    on_lines = world.pull.review_comments()
    summaries = world.summaries
    with closing(Storage.open(world.url)) as store:
        store.queue.release_all_leases()  # on SQLite the service does that itself
        log = world.settings.with_name("newer.log")
        service = CheckoutService(world.settings, 0, log, world.url, folder=folder)
        try:
            service.start()
            # a comment may appear within a minute
            wait_until(lambda: is_idle(store), within_s=180)
            batch = store.batches.find(BATCH)
            assert batch is not None
            wait_for_batch(store, batch)
            for number in (PROCESSED, COMMENTED, WAITING, TRIAGED, TRIAGED_IN_PART):
                assert (number, world.shown(number)) == (number, ONCE)
            assert count_calls(store) == CALLS
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
                assert (number, world.shown(number)) == (number, UNDONE)
        finally:
            service.stop(signal.SIGKILL)


CALLS = {
    f"issue-{PROCESSED}": ["ok"],
    f"issue-{COMMENTED}": ["ok"],
    f"issue-{WAITING}": ["ok"],
    f"batch-{BATCH}-{TRIAGED}": ["ok"],
    f"batch-{BATCH}-{TRIAGED_IN_PART}": ["ok"],
    "feature": ["ok"],
    PUSH: ["ok"],
}
"""The outcomes of the calls to Claude by delivery."""


def is_idle(store: Storage) -> bool:
    queue = store.deliveries.queue_state()
    return queue.queued == 0 and queue.running == 0


def count_calls(store: Storage) -> Mapping[str, list[str | None]]:
    return {guid: [call.outcome for call in store.calls.calls_of(guid)] for guid in CALLS}


def finding_states(store: Storage) -> Mapping[str, int]:
    with store.database.reading() as connection:
        return Counter(connection.execute(select(findings.c.state)).scalars())


def list_created(sandbox: Sandbox) -> list[str]:
    requests = sandbox.requests.all("github")
    paths = [one.path for one in requests if one.method == "POST" and one.path != "/graphql"]
    return sorted(path.removeprefix(f"/repos/{HOME.full_name}/") for path in paths)
