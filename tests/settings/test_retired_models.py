"""Retired models and their successors."""

from __future__ import annotations

import pytest

from hls_handler.settings.model import describe_retirement, resolve_model


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            "claude-3-5-sonnet-20241022",
            "claude-3-5-sonnet-20241022 was retired on 2025-10-28; claude-sonnet-5-5 is used in its place",
        ),
        ("claude-opus-4-1", "claude-opus-4-1 was retired on 2026-08-05; claude-opus-5-5 is used in its place"),
        (
            "claude-3-haiku-20240307",
            "claude-3-haiku-20240307 was retired on 2026-04-20; claude-haiku-5-5 is used in its place",
        ),
    ],
)
def test_a_retired_model_names_its_successor(model: str, sentence: str) -> None:
    assert describe_retirement(model) == sentence


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-sonnet-4-5", "gpt-of-somebody", ""])
def test_a_model_that_is_not_retired_has_no_retirement(model: str) -> None:
    assert describe_retirement(model) is None


@pytest.mark.parametrize(
    ("model", "current"),
    [("claude-3-haiku-20240307", "claude-haiku-5-5"), ("claude-opus-5-5", "claude-opus-5-5"), ("of-us", "of-us")],
)
def test_current_model_is_the_model_itself_or_its_successor(model: str, current: str) -> None:
    assert resolve_model(model) == current
