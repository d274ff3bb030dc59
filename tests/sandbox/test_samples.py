"""What of the settings a prompt library hangs on: all else may change without reading it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.sandbox.samples import library_basis
from tests.settings.files import SMALLEST, VARIABLES, load


@pytest.mark.parametrize(
    "text",
    [
        "prompts: {directory: elsewhere}",
        "prompts: {use: {issues.opened: issues/analyze}}",
        "    prompts: {use: {issues.opened: issues/analyze}}",
    ],
)
def test_a_change_that_leads_to_another_library_is_seen(tmp_path: Path, text: str) -> None:
    assert library_basis(load(tmp_path, f"{SMALLEST}{text}\n")) != library_basis(load(tmp_path, SMALLEST))


def test_a_change_of_the_budget_is_seen(tmp_path: Path) -> None:
    larger = SMALLEST.replace("claude:\n", "claude:\n  input_tokens: 50000\n")
    assert library_basis(load(tmp_path, larger)) != library_basis(load(tmp_path, SMALLEST))


def test_a_credential_changes_no_library(tmp_path: Path) -> None:
    other = load(tmp_path, SMALLEST, {**VARIABLES, "GITHUB_TOKEN": "another-github-token"})
    assert library_basis(other) == library_basis(load(tmp_path, SMALLEST))
