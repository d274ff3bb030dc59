"""The stand-in Claude with the real anthropic client."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import jsonschema
import pytest

from hls_handler.analysis import REPLY_TYPES

PROMPT = """Title:
<untrusted ab12>It crashes at start</untrusted ab12>

Body:
<untrusted ab12>Traceback: …</untrusted ab12>"""


def schema_of(name: str) -> dict[str, Any]:
    return anthropic.transform_schema(REPLY_TYPES[name].model_json_schema())


def send(client: anthropic.Anthropic, name: str = "issue_analysis", **changed: Any) -> anthropic.types.Message:
    given: dict[str, Any] = {
        "model": "claude-haiku-5-5",
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": PROMPT}],
        "output_config": {"format": {"type": "json_schema", "schema": schema_of(name)}},
    }
    message: anthropic.types.Message = client.messages.create(**{**given, **changed})
    return message


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@pytest.mark.parametrize("name", REPLY_TYPES)
def test_every_shipped_reply_type_is_answered(claude: anthropic.Anthropic, name: str) -> None:
    text = text_of(send(claude, name))
    jsonschema.validate(json.loads(text), schema_of(name))
    assert REPLY_TYPES[name].model_validate_json(text)


def test_replies_depend_only_on_the_request(claude: anthropic.Anthropic) -> None:
    other = [{"role": "user", "content": "Title:\n<untrusted x1>A typo in the README</untrusted x1>"}]
    assert text_of(send(claude)) == text_of(send(claude))
    assert text_of(send(claude)) != text_of(send(claude, messages=other))
