"""The stand-in Claude with the real anthropic client."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import jsonschema
import pytest

from hls_handler.analysis import REPLY_TYPES
from hls_handler.sandbox.claude import Asked
from hls_handler.sandbox.server import Sandbox
from tests.sandbox.conftest import ask

LONG = "You are a careful reader. " * 200
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


def test_a_reply_begins_with_a_thinking_block(claude: anthropic.Anthropic) -> None:
    assert [block.type for block in send(claude).content] == ["thinking", "text"]


def test_replies_depend_only_on_the_request(claude: anthropic.Anthropic) -> None:
    other = [{"role": "user", "content": "Title:\n<untrusted x1>A typo in the README</untrusted x1>"}]
    assert text_of(send(claude)) == text_of(send(claude))
    assert text_of(send(claude)) != text_of(send(claude, messages=other))


def test_a_request_without_schema_gets_prose(claude: anthropic.Anthropic) -> None:
    assert "canned replies" in text_of(send(claude, output_config={}))


def test_a_prefix_with_a_breakpoint_is_cached(claude: anthropic.Anthropic) -> None:
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    first, second = (send(claude, system=system).usage for _ in range(2))
    assert (first.cache_creation_input_tokens, first.cache_read_input_tokens) == (1300, 0)
    assert (second.cache_creation_input_tokens, second.cache_read_input_tokens) == (0, 1300)
    assert first.input_tokens == second.input_tokens > 0
    other = send(claude, "issue_response", system=system).usage
    assert other.cache_read_input_tokens == 0


@pytest.mark.parametrize(
    "system",
    [
        [{"type": "text", "text": LONG}],
        [{"type": "text", "text": "short", "cache_control": {"type": "ephemeral"}}],
        LONG,
    ],
    ids=["not marked", "too short", "a string"],
)
def test_short_or_unmarked_prefixes_are_not_cached(claude: anthropic.Anthropic, system: Any) -> None:
    for _ in range(2):
        usage = send(claude, system=system).usage
        assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (0, 0)


def test_a_reply_is_truncated_at_max_tokens(claude: anthropic.Anthropic) -> None:
    message = send(claude, max_tokens=10)
    assert (message.stop_reason, message.usage.output_tokens, len(text_of(message))) == ("max_tokens", 10, 40)


def test_models_have_a_lifecycle(claude: anthropic.Anthropic) -> None:
    current, retired = (claude.models.retrieve(name) for name in ("claude-haiku-5-5", "claude-3-5-sonnet-20241022"))
    assert (current.lifecycle, current.max_tokens) == ("active", 64_000)
    assert retired.lifecycle == "retired"
    assert "claude-sonnet-5-5" in [model.id for model in claude.models.list()]
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("claude-unknown")


def test_errors_have_the_types_of_the_api(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as retired:
        send(claude, model="claude-3-5-sonnet-20241022")
    assert retired.value.body == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "model: claude-3-5-sonnet-20241022"},
        "request_id": None,
    }
    raw = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "additionalProperties": False}
    with pytest.raises(anthropic.BadRequestError, match="minimum"):
        send(claude, output_config={"format": {"type": "json_schema", "schema": raw}})
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        send(claude, extra_body={"temperature": 0.5})


def test_a_wrong_key_is_rejected_by_every_endpoint(sandbox: Sandbox) -> None:
    with anthropic.Anthropic(api_key="wrong", base_url=sandbox.claude_url, max_retries=0) as client:
        for call in (lambda: send(client), lambda: client.models.retrieve("claude-haiku-5-5"), client.models.list):
            with pytest.raises(anthropic.AuthenticationError):
                call()


@pytest.mark.parametrize(
    ("headers", "body", "status", "said"),
    [
        ({}, b"{", 400, "not valid JSON"),
        ({}, b'{"model": "\\ud800"}', 400, "not valid JSON"),
        ({"anthropic-version": ""}, b"{}", 400, "anthropic-version"),
        ({"Content-Type": "text/plain"}, b"{}", 400, "Content-Type"),
        ({"Authorization": "", "x-api-key": "sandbox-claude-key"}, b"{}", 401, "invalid bearer token"),
    ],
)
def test_malformed_requests_are_rejected(
    sandbox: Sandbox, headers: dict[str, str], body: bytes, status: int, said: str
) -> None:
    given = {"Authorization": f"Bearer {sandbox.api_key}", "anthropic-version": "2026-10-21", **headers}
    answer = ask(sandbox.claude_url, "POST", "/v1/messages", body, given)
    assert (answer.status, said in answer.text) == (status, True), answer.text


def test_unknown_paths_are_404(sandbox: Sandbox) -> None:
    answer = ask(sandbox.claude_url, "GET", "/v1/nothing")
    assert (answer.status, answer.document["error"]["type"]) == (404, "not_found_error")


def test_the_canned_replies_can_be_replaced() -> None:
    asked: list[Asked] = []

    def obedient(one: Asked) -> object:
        asked.append(one)
        return {"said": one.user}

    with (
        Sandbox(answer=obedient) as sandbox,
        anthropic.Anthropic(api_key=sandbox.api_key, base_url=sandbox.claude_url, max_retries=0) as client,
    ):
        assert text_of(send(client, system="Be brief.")) == json.dumps({"said": PROMPT}, ensure_ascii=False)
    assert (asked[0].system, asked[0].schema, asked[0].model.id) == (
        "Be brief.",
        schema_of("issue_analysis"),
        "claude-haiku-5-5",
    )
