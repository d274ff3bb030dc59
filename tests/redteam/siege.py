"""One family under attack: each round's event through the door's decision, the store, the pipeline and real clients."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import SecretStr

from hls_handler.clients.claude import Claude
from hls_handler.clients.github import connect
from hls_handler.events import parse_envelope
from hls_handler.history.statistics import DeliveryRow
from hls_handler.prompting.prompt import Library
from hls_handler.queue.leases import ExclusiveLease
from hls_handler.routing import Rule, from_envelope, route
from hls_handler.sandbox.request_log import LoggedRequest
from hls_handler.sandbox.server import Sandbox
from hls_handler.sandbox.state import State
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.settings.model import Comments, Github, Limits, Repository, RepositoryComments, Settings
from hls_handler.storage import Storage
from hls_handler.web.webhook import WebhookHeaders, check_payload, new_delivery
from hls_handler.work.active_config import BotAccount
from hls_handler.work.health import Health
from hls_handler.work.ports import DeliveryConfig, WorkerContext
from hls_handler.work.runner import attempt
from tests.redteam.attacks import Attack, calm, rounds
from tests.redteam.scenes import POST_TO, HistoryUpdate, Home, Scene

TOKEN = "ghp_hlsownTokenOfThisRedTeam0123456789abcd"
API_KEY = "sk-ant-api03-hls-own-key-of-this-red-team-0123456789"
WEBHOOK_SECRET = "webhook secret of this red team, ünguessable"
SECRETS = (TOKEN, API_KEY, WEBHOOK_SECRET)

ATTACKED = Home(186853002, "Codertocat/Hello-World")
OTHER = Home(186853003, "Codertocat/Secret-Plans")
EVENTS = (
    *("issues", "pull_request", "pull_request_review", "workflow_run", "release", "issue_comment", "push"),
    *("deployment_status", "discussion"),
)
WITHOUT_THREAD = ("release", "push", "deployment_status", "discussion")
FIRST = 5000
"""The number of the first round's thread."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One round, and all that came of it."""

    home: Home
    history_update: HistoryUpdate
    attacks: Mapping[str, Attack]
    row: DeliveryRow
    github: tuple[LoggedRequest, ...]  # requests
    claude: tuple[LoggedRequest, ...]

    @property
    def name(self) -> str:
        """For messages: what was attacked how."""
        told = ", ".join(f"{place} by {attack.technique}" for place, attack in self.attacks.items())
        return f"{self.history_update.event} in {self.home.full_name} ({told})"

    @property
    def bodies(self) -> tuple[str, ...]:
        """Of comments, as written."""
        return tuple(seen.body["body"] for seen in self.github if seen.writes and "/comments" in seen.path)


@dataclass(frozen=True, slots=True)
class Run:
    """All rounds of one family; the first one is calm, and of another repository."""

    scene: Scene
    settings: Settings
    library: Library
    sandbox: Sandbox
    url: str  # of the database
    rounds: tuple[Delivered, ...]
    log: str


def settings(sandbox: Sandbox) -> Settings:
    return Settings(
        github=Github(
            token=SecretStr(TOKEN),
            webhook_secret=SecretStr(WEBHOOK_SECRET),
            base_url=sandbox.github_url,
            min_seconds_between_writes=0.0,
        ),
        claude=ClaudeSettings(
            api_key=SecretStr(API_KEY),
            base_url=sandbox.claude_url,
            requests_per_second=1000.0,
            calls_per_hour=100_000,
            max_tokens=64_000,
        ),
        limits=Limits(thread_runs_per_hour=10_000),
        comments=Comments(),
        repositories=(
            Repository(
                name="Codertocat/*",
                events=EVENTS,
                comments=RepositoryComments(post_to=dict.fromkeys(WITHOUT_THREAD, POST_TO)),
            ),
        ),
    )


@contextmanager
def worker(sandbox: Sandbox, library: Library, url: str) -> Iterator[WorkerContext]:
    """A worker's tools, all of them real."""
    given, store = settings(sandbox), Storage.open(url)
    github = connect(given.github, observe=lambda _: None, now=lambda: datetime.now(UTC))
    claude = Claude(given.claude, clock=time.monotonic, now=lambda: datetime.now(UTC))
    now = DeliveryConfig(given, RepositoryTable(given), library)
    try:
        yield WorkerContext(
            store=store,
            leases=ExclusiveLease(),
            github=github,
            claude=claude,
            health=Health(lambda: datetime.now(UTC)),
            now=lambda: now,
            bot=BotAccount(store, token=TOKEN, base_url=sandbox.github_url).ask,
            stopping=lambda: False,
            pause=lambda _: None,
            jitter=random.random,
            clock=time.monotonic,
        )
    finally:
        github.close()
        claude.close()
        store.close()


def lay_siege(scene: Scene, *, sandbox: Sandbox, library: Library, url: str, log: io.StringIO) -> Run:
    plan = [(OTHER, calm(scene.places)), *((ATTACKED, attacks) for attacks in rounds(scene.places))]
    with worker(sandbox, library, url) as tools:
        delivered = tuple(
            deliver(scene, tools, sandbox, home, attacks, number) for number, (home, attacks) in enumerate(plan, FIRST)
        )
        return Run(scene, tools.now().settings, library, sandbox, url, delivered, log.getvalue())


def nothing_else(_: State) -> None:
    """Between the event and the work on it."""


def deliver(
    scene: Scene,
    tools: WorkerContext,
    sandbox: Sandbox,
    home: Home,
    attacks: Mapping[str, Attack],
    number: int,
    *,
    meanwhile: Callable[[State], None] = nothing_else,
) -> Delivered:
    """One event, and the work on it; `meanwhile` happens between the two."""
    history_update = scene.happen(
        sandbox.state, home, {place: attack.text for place, attack in attacks.items()}, number
    )
    sandbox.requests.clear()
    now, body, guid = tools.now(), history_update.body, f"guid-{number}"
    sipped = parse_envelope(body)
    check_payload(history_update.event, sipped)
    routed = route(
        from_envelope(history_update.event, sipped),
        settings=now.settings,
        table=now.table,
        catalogue=now.library,
        bot=None,
    )
    assert isinstance(routed, Rule), routed
    head = WebhookHeaders(history_update.event, guid, b"", is_form=False, content_length=None)
    new = new_delivery(head, sipped, routed, body, request_id=guid, settle_s=0)
    tools.store.queue.accept([new], replay_window_h=72)
    lease = tools.store.queue.claim(worker="red team", lease_s=60, max_crashes=10)
    assert lease is not None
    meanwhile(sandbox.state)
    attempt(lease, tools)
    row = tools.store.deliveries.find(guid)
    assert row is not None
    return Delivered(home, history_update, attacks, row, sandbox.requests.all("github"), sandbox.requests.all("claude"))
