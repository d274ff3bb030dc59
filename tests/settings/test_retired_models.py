"""Retired models and their successors."""

from __future__ import annotations

import pytest

from hls_handler.settings.model import describe_retirement, resolve_model


@pytest.mark.parametrize(
    ("model", "retired_on", "successor"),
    [
        ("claude-3-5-sonnet-20241022", "2025-10-28", "claude-sonnet-5-5"),
        ("claude-opus-4-1", "2026-08-05", "claude-opus-5-5"),
        ("claude-3-haiku-20240307", "2026-04-20", "claude-haiku-5-5"),
    ],
)
def test_a_retired_model_names_its_successor(model: str, retired_on: str, successor: str) -> None:
    assert describe_retirement(model) == f"{model} was retired on {retired_on}; {successor} is used in its place"
    assert resolve_model(model) == successor


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-4-5", "gpt-of-somebody", ""])
def test_a_model_that_is_not_retired_has_no_successor(model: str) -> None:
    assert (describe_retirement(model), resolve_model(model)) == (None, model)
