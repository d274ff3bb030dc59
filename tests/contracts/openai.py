"""Validation of requests to the Chat Completions API against the types of OpenAI's SDK."""

from __future__ import annotations

from functools import cache

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from tests.contracts.claude import close_objects


def find_violation(body: object) -> str | None:
    """Return the most relevant violation of a request's body; None if there is none."""
    worst = best_match(_validator().iter_errors(body))
    return None if worst is None else f"{worst.json_path}: {worst.message[:200]}"


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(
        close_objects(TypeAdapter(CompletionCreateParamsNonStreaming).json_schema())
    )
