"""If Claude obeys every attack, the result is still only shipped labels and harmless comments."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hls_handler import logs
from hls_handler.github.connection import Call, HttpResponse
from hls_handler.github.labels import RepositoryLabels
from hls_handler.prompting.prompt import Library
from hls_handler.settings.sections import Comments, LabelSettings, PullRequests, Similar
from hls_sandbox.objects import Account
from hls_sandbox.state import State
from tests.engine.claude import FakeClaude
from tests.engine.stand_in import StandIn
from tests.engine.world import World, open_world, settings
from tests.handlers.conversation import EVENTS, FALLBACK_ISSUE, HOME, Home, open_home
from tests.redteam.attacks import HARMLESS_WORD, REPLY, Attack, attacks, rounds
from tests.redteam.claude import AdversarialClaude
from tests.redteam.rules import (
    API_KEY,
    RULES,
    SECRETS,
    TOKEN,
    WEBHOOK_SECRET,
    Delivered,
    Request,
    Run,
)
from tests.redteam.scenarios import SCENARIOS, Round, Scenario

UNATTACKED: Mapping[str, Any] = {**HOME, "id": 2, "full_name": "octo/secret-plans"}
WITHOUT_CONVERSATION = ("release", "push", "deployment_status")
FIRST_NUMBER = 5000
"""Number of the conversation of the first round."""


class RecordingGithub(StandIn):
    """Records all requests, and lists labels at each use."""

    def __init__(self, state: State, repository: str) -> None:
        super().__init__(state, repository)
        hours = count(step=3600)
        self._labels = RepositoryLabels(lambda: next(hours))
        self.requests: list[Request] = []

    def answer(self, call: Call) -> HttpResponse:
        body = json.loads(call.body) if call.body else None
        self.requests.append(Request(call.verb, call.target.partition("?")[0], body))
        return super().answer(call)


@pytest.fixture
def log(logging_as_before: None) -> io.StringIO:
    """Everything that is logged with the default settings."""
    stream = io.StringIO()
    logs.configure("INFO", "json", stream, SECRETS)
    return stream


def deliver(
    scenario: Scenario, home: Home, attacked: Mapping[str, Attack], number: int
) -> Delivered:
    """Let the scenario happen with these attacks."""
    world, client = home.world, home.client
    assert isinstance(client, RecordingGithub)
    world.github = client
    world.claude.asked.clear()
    texts = {place: attack.text for place, attack in attacked.items()}
    description = texts.get("repository.description", "What it is")
    home.repository = {**home.repository, "description": description}
    scenario.act(Round(home, texts, number))
    world.run_all()
    written = FALLBACK_ISSUE if scenario.event in WITHOUT_CONVERSATION else number
    row = world.row(f"{home.deliveries}")
    requests, asked = (*client.requests,), (*world.claude.asked,)
    client.requests.clear()
    return Delivered(scenario.event, home.full_name, written, attacked, row, requests, asked)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_rule_22_no_attack_violates_a_security_rule(
    scenario: Scenario, library: Library, tmp_path: Path, log: io.StringIO
) -> None:
    def find_violations(run: Run) -> Mapping[str, list[str]]:
        """Return the violations by rule."""
        found = {rule.__name__: list(rule(run)) for rule in RULES}
        return {name: violations for name, violations in found.items() if violations}

    def harmless_round(places: tuple[str, ...]) -> Mapping[str, Attack]:
        return {place: Attack(place, "harmless", f"{HARMLESS_WORD} {place}") for place in places}

    def open_homes(world: World, scenario: Scenario) -> tuple[Home, Home]:
        """Open the repository without attacks, and the attacked one."""
        changed = {
            "labels": LabelSettings(suggest=True, issue_type=True),
            "pull_requests": PullRequests(reviewers="request"),
            "similar": Similar(enabled=scenario.name == "similar_issues"),
            "comments": Comments(summary="always"),
        }
        world.settings = world.settings.model_copy(update=changed)
        post_to = dict.fromkeys(WITHOUT_CONVERSATION, FALLBACK_ISSUE)
        events = (*EVENTS, *WITHOUT_CONVERSATION)
        attacked = open_home(world, name="octo/*", events=events, comments={"post_to": post_to})
        attacked.client = RecordingGithub(attacked.state, attacked.full_name)
        client = RecordingGithub(attacked.state, UNATTACKED["full_name"])
        other = Home(world, client, UNATTACKED, deliveries=1_000)
        other.seed("issues", "opened", issue={"number": FALLBACK_ISSUE, "title": "Events"})
        return other, attacked

    claude = FakeClaude(AdversarialClaude((TOKEN, API_KEY)))
    own = {"token": TOKEN, "webhook_secret": WEBHOOK_SECRET}
    given = settings(
        github=own,
        claude={"api_key": API_KEY, "cache_ttl_h": 0.0},  # each attack must reach Claude
        limits={"thread_runs_per_hour": 10_000},
        retrieval=True,
    )
    with open_world(tmp_path, replies=claude, given=given) as world:
        world.prompts = library
        other, attacked = open_homes(world, scenario)
        delivered = [deliver(scenario, other, harmless_round(scenario.places), FIRST_NUMBER)]
        delivered += [
            deliver(scenario, attacked, attacks, number)
            for number, attacks in enumerate(rounds(scenario.places), FIRST_NUMBER + 1)
        ]
        url = f"sqlite:///{tmp_path}/hls.db"
        assert find_violations(Run(attacked.state, url, delivered, log.getvalue())) == {}


def test_there_are_at_least_250_attacks_60_of_them_in_files_and_each_place_has_a_scenario() -> None:
    table = attacks()
    assert sum(map(len, table.values())) >= 250
    assert (
        sum(len(table[place]) for place in table if place.startswith(("other.", "document."))) >= 60
    )
    assert set(table) - {REPLY} == {place for scenario in SCENARIOS for place in scenario.places}
    every = [attack for attacks in table.values() for attack in attacks]
    assert len({(attack.place, attack.text) for attack in every}) == len(every)


def test_conversation_with_a_thousand_comments_gets_one_comment_with_few_requests() -> None:
    with open_world(replies=FakeClaude(AdversarialClaude(()))) as world:
        home = open_home(world)
        for _ in range(1_000):
            home.state.create_comment(home.fallback.now, "And?", by=Account("zoe", 8, "User"))
        assert home.fallback.comment("@hls what should be done?", by="zoe") == "done: commented"
    assert len(home.fallback.shown().split("\n--\n")) == 2
    assert len(home.client.calls) < 50
