"""Replies of Claude that went wrong, made of one that went right."""

from __future__ import annotations

import json
from typing import Any

from hls_handler.sandbox.faults import Effect

DISTORTIONS: frozenset[Effect | None] = frozenset({"truncated", "refusal", "wrong_schema", "empty", "paused"})


def distorted(effect: Effect | None, message: dict[str, Any]) -> dict[str, Any]:
    """The same message after the mishap. Tokens were used all the same."""
    text = next((block["text"] for block in message.get("content", []) if block["type"] == "text"), "")
    if effect == "truncated":
        return {**message, "content": [_text(text[: len(text) // 2])], "stop_reason": "max_tokens"}
    if effect == "refusal":
        details = {"type": "refusal", "category": None, "explanation": "The sandbox was told to refuse."}
        return {**message, "content": [], "stop_reason": "refusal", "stop_details": details}
    if effect == "wrong_schema":
        return {**message, "content": [_text(json.dumps({"surprise": "this is not what was asked for"}))]}
    if effect == "empty":
        return {**message, "content": []}
    return {**message, "stop_reason": "pause_turn"}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": None}
