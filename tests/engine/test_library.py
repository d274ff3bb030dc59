"""The settings that a prompt library depends on, and the stored facts that check it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hls_handler.engine.library import FACTS, library_basis
from hls_handler.sandbox.samples import recorded_facts
from hls_handler.settings.github_events import ACTIONS
from tests.settings.files import SMALLEST, VARIABLES, load


@pytest.mark.parametrize(
    "text",
    [
        "prompts: {directory: elsewhere}",
        "prompts: {use: {issues.opened: issues/analyze}}",
        "    prompts: {use: {issues.opened: issues/analyze}}",
    ],
)
def test_library_basis_changes_with_the_prompt_settings(tmp_path: Path, text: str) -> None:
    assert library_basis(load(tmp_path, f"{SMALLEST}{text}\n")) != library_basis(load(tmp_path, SMALLEST))


def test_library_basis_does_not_depend_on_credentials(tmp_path: Path) -> None:
    other = load(tmp_path, SMALLEST, {**VARIABLES, "GITHUB_TOKEN": "another-github-token"})
    assert library_basis(other) == library_basis(load(tmp_path, SMALLEST))


@pytest.mark.parametrize(
    "event_name", ["issues", "pull_request", "pull_request_review", "workflow_run", "release", "push"]
)
def test_stored_facts_are_up_to_date(event_name: str) -> None:
    stored = json.loads((FACTS / f"{event_name}.json").read_text(encoding="utf-8"))
    assert stored == recorded_facts(event_name), "run python -m hls_handler.sandbox.samples"


def test_every_event_with_facts_has_a_file() -> None:
    assert {path.stem for path in FACTS.glob("*.json")} == {event for event in ACTIONS if recorded_facts(event)}
