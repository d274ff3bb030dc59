"""The processing of all attacks of one event family, with the real routing, queue, pipeline and
clients.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from pydantic import SecretStr, TypeAdapter

from hls_handler.claude.providers import Providers
from hls_handler.engine.active_config import (
    BotAccount,
    ChosenAccount,
    DeliveryConfig,
    WorkerContext,
)
from hls_handler.engine.health import Health
from hls_handler.engine.pipeline import run_delivery
from hls_handler.events import Issue
from hls_handler.git.mirror import Mirrors
from hls_handler.github.api import GithubApi
from hls_handler.github.client import Github as GithubClient
from hls_handler.github.repository_labels import RepositoryLabels
from hls_handler.prompting.prompt import Library
from hls_handler.routing import Router, Rule, from_envelope, parse_envelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Github, Limits, Mirror, Settings
from hls_handler.settings.providers import Claude as ClaudeSettings
from hls_handler.settings.sections import (
    Comments,
    Labels,
    PullRequests,
    Repository,
    RepositoryComments,
    Similar,
)
from hls_handler.storage import Storage
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.repositories import text_of_issue
from hls_handler.store.texts import issue_scope
from hls_handler.web.webhook import WebhookHeaders, check_payload, new_delivery
from tests.engine.world import ExclusiveLease
from tests.github_fake.middleware import LoggedRequest
from tests.github_fake.server import Sandbox
from tests.queue.builders import accept, ignored
from tests.redteam.attacks import Attack, harmless_round, rounds
from tests.redteam.scenarios import FALLBACK_ISSUE, Event, Scenario, Target
from tests.sqlite import create_database

TOKEN = "ghp_hlsownTokenOfThisRedTeam0123456789abcd"
API_KEY = "sk-ant-api03-hls-own-key-of-this-red-team-0123456789"
WEBHOOK_SECRET = "webhook secret of this red team, ünguessable"
SECRETS = (TOKEN, API_KEY, WEBHOOK_SECRET)

ATTACKED = Target(186853002, "Codertocat/Hello-World")
UNATTACKED = Target(186853003, "Codertocat/Secret-Plans")
EVENTS = (
    *(
        "issues",
        "pull_request",
        "pull_request_review",
        "workflow_run",
        "release",
        "issue_comment",
        "push",
    ),
    "deployment_status",
)
WITHOUT_CONVERSATION = ("release", "push", "deployment_status")
FIRST_NUMBER = 5000
"""Number of the conversation of the first round."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The result of one round."""

    target: Target
    event: Event
    attacks: Mapping[str, Attack]
    row: DeliveryRow
    github: tuple[LoggedRequest, ...]  # requests
    claude: tuple[LoggedRequest, ...]

    @property
    def name(self) -> str:
        """Describe the round in messages: "push in octo/a (push.ref: mention)"."""
        attacks = ", ".join(
            f"{place}: {attack.technique}" for place, attack in self.attacks.items()
        )
        return f"{self.event.name} in {self.target.full_name} ({attacks})"

    @property
    def bodies(self) -> tuple[str, ...]:
        """Bodies of all comments that were sent to GitHub."""
        return tuple(
            seen.body["body"] for seen in self.github if seen.writes and "/comments" in seen.path
        )


@dataclass(frozen=True, slots=True)
class Run:
    """All rounds of one family. The first one is harmless, and in another repository."""

    settings: Settings
    library: Library
    sandbox: Sandbox
    url: str  # of the database
    rounds: tuple[Delivered, ...]
    log: str


def settings(sandbox: Sandbox, mirrors: Path, *, is_compared: bool) -> Settings:
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
            cache_ttl_h=0.0,  # each attack must reach Claude
        ),
        mirror=Mirror(directory=mirrors),
        limits=Limits(thread_runs_per_hour=10_000),
        labels=Labels(suggest=True, issue_type=True),
        pull_requests=PullRequests(reviewers="request"),
        similar=Similar(enabled=is_compared),
        comments=Comments(summary="always"),
        repositories=(
            Repository(
                name="Codertocat/*",
                events=EVENTS,
                comments=RepositoryComments(
                    post_to=dict.fromkeys(WITHOUT_CONVERSATION, FALLBACK_ISSUE)
                ),
            ),
        ),
    )


@contextmanager
def worker(
    sandbox: Sandbox, library: Library, folder: Path, *, is_compared: bool = False
) -> Iterator[WorkerContext]:
    """Make the context of a worker, with real clients, and with its database and mirrors in a
    folder.

    `is_compared`: issues are compared with older ones.
    """
    given = settings(sandbox, folder / "mirrors", is_compared=is_compared)
    store = Storage.open(create_database(folder / "hls.db"))
    api = GithubApi(given.github, now=lambda: datetime.now(UTC))
    hours = count(step=3600)
    labels = RepositoryLabels(lambda: next(hours))  # every use lists the labels again
    github = GithubClient(api, labels=labels, mirrors=Mirrors(lambda: given.mirror))
    claude = Providers(given.claude, clock=time.monotonic, now=lambda: datetime.now(UTC))
    bot = BotAccount(given.github, store.bot_accounts, store.database)
    config = DeliveryConfig(given, RepositoryTable(given), library)
    try:
        yield WorkerContext(
            store=store,
            leases=ExclusiveLease(),
            github=github,
            claude=claude,
            health=Health(lambda: datetime.now(UTC)),
            config=config,
            choose_account=lambda _repository_id, _number: ChosenAccount(
                github, bot.get_or_fetch(github)
            ),
            stopping=lambda: False,
            pause=lambda _: None,
            jitter=random.random,
            clock=time.monotonic,
        )
    finally:
        github.close()
        claude.close()
        store.close()


def run_attacks(
    scenario: Scenario, *, sandbox: Sandbox, library: Library, folder: Path, log: io.StringIO
) -> Run:
    plan = [(UNATTACKED, harmless_round(scenario.places))]
    plan += [(ATTACKED, attacks) for attacks in rounds(scenario.places)]
    is_compared = any(place.startswith("older_issue.") for place in scenario.places)
    with worker(sandbox, library, folder, is_compared=is_compared) as tools:
        delivered = tuple(
            deliver(scenario, tools, sandbox, target, attacks, number)
            for number, (target, attacks) in enumerate(plan, FIRST_NUMBER)
        )
        return Run(
            tools.config.settings,
            library,
            sandbox,
            f"sqlite:///{folder}/hls.db",
            delivered,
            log.getvalue(),
        )


def deliver(
    scenario: Scenario,
    tools: WorkerContext,
    sandbox: Sandbox,
    target: Target,
    attacks: Mapping[str, Attack],
    number: int,
) -> Delivered:
    """Create an event, route, queue and process it, after a push, so that the documentation is read
    again.
    """
    event = scenario.create(
        sandbox, target, {place: attack.text for place, attack in attacks.items()}, number
    )
    if event.stored is not None:
        older = TypeAdapter(Issue).validate_python(event.stored["issue"])
        tools.store.texts.replace(issue_scope(target.id), (), [text_of_issue(older)])
    sandbox.requests.clear()
    config, body, guid = tools.config, event.body, f"guid-{number}"
    envelope = parse_envelope(body)
    check_payload(event.name, envelope)
    routed = Router(config.settings, config.table, config.library).route(
        from_envelope(event.name, envelope)
    )
    assert isinstance(routed, Rule), routed
    headers = WebhookHeaders(event.name, guid, b"", is_form=False, content_length=None)
    new = new_delivery(headers, envelope, routed, body, config.settings, request_id=guid)
    accept(
        tools.store,
        ignored(f"push-{number}", event="push", repository=target.full_name, number=None),
        new,
    )
    lease = tools.store.queue.claim(worker="attack run", lease_s=60)
    assert lease is not None
    run_delivery(lease, tools)
    row = tools.store.deliveries.find(guid)
    assert row is not None
    return Delivered(
        target, event, attacks, row, sandbox.requests.all("github"), sandbox.requests.all("claude")
    )
