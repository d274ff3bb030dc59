"""The Claude client with the real SDK over real HTTP."""

from __future__ import annotations

import gzip
import json
import socket
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from hls_handler.analysis import (
    IssueResponse,
    PartialCost,
    Prompt,
    RenderedPrompt,
    Reply,
    UnusableReply,
    Usage,
    cost_of_output,
)
from hls_handler.claude.provider import (
    Provider,
    ProviderApi,
    ProviderConnection,
    request_schema,
    with_price,
)
from hls_handler.claude.providers import connect
from hls_handler.errors import DependencyDown, SlowResponse, StepFailed
from hls_handler.settings.providers import ClaudeSettings
from tests.fake_server import FakeServer, Say
from tests.github.review_world import NOON

KEY = "sk-ant-secretsecretsecret"
PROMPT = Prompt(
    name="issues/respond",
    id="issues/respond@3f9c2a",
    path="prompts/issues/respond.j2",
    on=(),
    reply="issue_response",
    reply_model=IssueResponse,
    model=None,
    max_tokens=None,
    effort=None,
    then=None,
)
RENDERED = RenderedPrompt(PROMPT, "You help.", "What now?", IssueResponse.model_json_schema())
REPLY = {"worth_saying": True, "sources": [], "answer": "Upgrade.", "certain": False}
GOOD = json.dumps(REPLY)
USAGE = Usage(
    "claude-haiku-5-5",
    input_tokens=1000,
    output_tokens=1000,
    cost_usd=0.0006,
    output_usd=0.0005,
    took_s=2.5,
)
Build = Callable[..., Provider]


def message(text: str, *, stop_reason: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    """Return a response of the Messages API."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 1000, "output_tokens": 1000},
        **more,
    }


def error(kind: str, text: str, **details: Any) -> dict[str, Any]:
    return {
        "type": "error",
        "error": {"type": kind, "message": text, **({"details": details} if details else {})},
    }


class Clock:
    """Advances by 2.5 seconds with each call."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def __call__(self) -> float:
        self._now_s += 2.5
        return self._now_s


@pytest.fixture
def build(server: FakeServer) -> Iterator[Build]:
    clients: list[Provider] = []

    def make(**changes: Any) -> Provider:
        settings = ClaudeSettings(
            **{"api_key": SecretStr(KEY), "base_url": server.url, "max_tokens": 4000, **changes}
        )
        clients.append(Provider(settings, settings, connect, clock=Clock(), now=lambda: NOON))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def ask(
    build: Build, server: FakeServer, *says: Say, rendered: RenderedPrompt = RENDERED, **more: Any
) -> Reply | UnusableReply:
    server.says = list(says)
    return build().ask(rendered, **more)


def test_client_is_made_at_the_first_question_and_its_making_is_no_part_of_the_call(
    server: FakeServer,
) -> None:
    read_at: list[str] = []

    def clock() -> float:
        read_at.append("clock")
        return 0.0

    def make(connection: ProviderConnection) -> ProviderApi:
        read_at.append("client")
        return connect(connection)

    given = ClaudeSettings(api_key=SecretStr(KEY), base_url=server.url)
    server.says = [Say(body=message(GOOD))]
    with closing(Provider(given, given, make, clock=clock, now=lambda: NOON)) as provider:
        assert read_at == []
        provider.ask(RENDERED)
    assert read_at == ["client", "clock", "clock"]


def test_valid_reply_is_returned_with_its_usage(build: Build, server: FakeServer) -> None:
    assert ask(build, server, Say(body=message(GOOD))) == Reply(
        prompt_id="issues/respond@3f9c2a",
        reply_type="issue_response",
        fields=IssueResponse(worth_saying=True, sources=[], answer="Upgrade.", certain=False),
        usage=USAGE,
    )


def test_rule_11_the_request_is_what_the_api_expects_and_has_no_tools(
    build: Build, server: FakeServer
) -> None:
    ask(build, server, Say(body=message(GOOD)))
    assert server.calls == ["POST /v1/messages"]
    assert [seen.body for seen in server.seen] == [
        {
            "model": "claude-haiku-5-5",
            "max_tokens": 4000,
            "system": [
                {"type": "text", "text": "You help.", "cache_control": {"type": "ephemeral"}}
            ],
            "messages": [{"role": "user", "content": "What now?"}],
            "output_config": {
                "format": {
                    "type": "json_schema",
                    "schema": request_schema(IssueResponse.model_json_schema()),
                }
            },
        }
    ]
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"


def test_model_max_tokens_and_effort_of_the_prompt_override_settings(
    build: Build, server: FakeServer
) -> None:
    prompt = replace(PROMPT, model="claude-opus-5-5", max_tokens=900, effort="low")
    rendered = replace(RENDERED, prompt=prompt)
    ask(build, server, Say(body=message(GOOD)), rendered=rendered)
    asked = server.seen[0].body
    assert (asked["model"], asked["max_tokens"], asked["output_config"]["effort"]) == (
        "claude-opus-5-5",
        900,
        "low",
    )
    assert build().model_for(rendered) == "claude-opus-5-5"
    assert build().model_for(RENDERED) == "claude-haiku-5-5"
    retired = replace(prompt, model="claude-3-5-sonnet-20241022")
    assert build().model_for(replace(RENDERED, prompt=retired)) == "claude-sonnet-5-5"


def test_blank_system_message_is_omitted(build: Build, server: FakeServer) -> None:
    ask(build, server, Say(body=message(GOOD)), rendered=replace(RENDERED, system=" \n"))
    assert "system" not in server.seen[0].body


# --- stop reasons
# -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop_reason", "why", "problem"),
    [
        ("max_tokens", "truncated", "the reply was cut off after 1000 tokens (max_tokens)"),
        (
            "model_context_window_exceeded",
            "truncated",
            "prompt and reply together are longer than the model's context window",
        ),
        ("refusal", "refused", "Claude refused to answer"),
    ],
)
def test_reply_that_was_cut_off_or_refused_is_unusable_even_if_valid(
    build: Build, server: FakeServer, stop_reason: str | None, why: Any, problem: str
) -> None:
    answer = ask(build, server, Say(body=message(GOOD, stop_reason=stop_reason)))
    assert answer == UnusableReply("issues/respond@3f9c2a", why, problem, GOOD, USAGE)


def test_invalid_reply_with_an_unknown_stop_reason_names_it(
    build: Build, server: FakeServer
) -> None:
    answer = ask(build, server, Say(body=message("Let me", stop_reason="pause_turn")))
    problem = "Claude stopped without a reply (pause_turn)"
    assert answer == UnusableReply("issues/respond@3f9c2a", "stopped", problem, "Let me", USAGE)


def test_cached_tokens_are_counted_separately(build: Build, server: FakeServer) -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 0,
        "cache_creation_input_tokens": 2000,
        "cache_read_input_tokens": 3000,
    }
    answer = ask(build, server, Say(body=message(GOOD, usage=usage)))
    assert answer.usage == Usage(
        "claude-haiku-5-5", 10, 0, 2000, 3000, 0.000281, 2.5, output_usd=0.0
    )


ESTIMATE = Usage(
    "claude-haiku-5-5",
    output_tokens=4000,
    cache_write_tokens=453,
    cost_usd=0.002056625,
    took_s=2.5,
    is_estimate=True,
    output_usd=0.002056625 - 0.000056625,
)


@pytest.mark.parametrize(
    "usage",
    [
        *(
            {"input_tokens": 10, "output_tokens": 10, "cache_read_input_tokens": count}
            for count in (-1, 2**63)
        ),
        {"input_tokens": 10, "output_tokens": 10**30},
        {"input_tokens": 10},
        None,
    ],
)
def test_reply_with_an_impossible_usage_is_used_and_has_an_upper_estimate(
    build: Build, server: FakeServer, usage: object
) -> None:
    answer = ask(build, server, Say(body=message(GOOD, usage=usage)))
    assert isinstance(answer, Reply)
    assert answer.usage == ESTIMATE


@pytest.mark.parametrize(
    "body", [message("x" * 5_000_000), b" " * 144_385], ids=["long text", "one byte too many"]
)
def test_reply_over_the_limit_of_bytes_is_unusable(
    build: Build, server: FakeServer, body: object
) -> None:
    assert ask(build, server, Say(body=body)) == UnusableReply(
        "issues/respond@3f9c2a",
        "oversized",
        "the response is over 144384 bytes (16384, and 32 for each of 4000 max_tokens)",
        text="",
        usage=ESTIMATE,
    )


# --- replies that do not validate
# -----------------------------------------------------------------------------


def test_second_request_contains_first_reply_and_its_problems(
    build: Build, server: FakeServer
) -> None:
    first = ask(build, server, Say(body=message('{"answer": 1}')))
    assert isinstance(first, UnusableReply)
    assert (first.why, first.text, first.usage) == ("invalid", '{"answer": 1}', USAGE)
    assert isinstance(ask(build, server, Say(body=message(GOOD)), correction=first), Reply)
    assert server.seen[1].body["messages"] == [
        {"role": "user", "content": "What now?"},
        {"role": "assistant", "content": '{"answer": 1}'},
        {
            "role": "user",
            "content": (
                "That reply could not be used: worth_saying: is missing; answer: expected text;"
                " certain: is missing\n\nAnswer again with the whole JSON object, corrected. All earlier instructions still apply."
            ),
        },
    ]
    assert {key: server.seen[0].body[key] for key in ("model", "system", "output_config")} == {
        key: server.seen[1].body[key] for key in ("model", "system", "output_config")
    }


# --- errors
# -----------------------------------------------------------------------------


def failure(build: Build, server: FakeServer, say: Say, **settings: Any) -> StepFailed:
    server.says = [say]
    client = build(**settings)
    with pytest.raises(StepFailed) as caught:
        client.ask(RENDERED)
    assert len(server.seen) == 1  # never a retry of the SDK's own
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert KEY not in shown
    return caught.value


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}], ids=["plain", "compressed"])
def test_error_response_is_read_up_to_a_limit(
    build: Build, server: FakeServer, headers: dict[str, str]
) -> None:
    body = json.dumps(error("api_error", "x" * 10_000_000)).encode()
    say = Say(500, gzip.compress(body, 1) if headers else body, headers)
    del body
    tracemalloc.start()
    down = failure(build, server, say)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "Claude answered 500 to issues/respond@3f9c2a: no reason given" in str(down)
    assert peak_bytes < 5_000_000


@pytest.mark.parametrize(
    ("say", "text", "remedy", "wait_s"),
    [
        (
            Say(500, error("api_error", "Oops")),
            "500 to issues/respond@3f9c2a: Oops",
            "status.claude.com",
            None,
        ),
        (
            Say(429, error("rate_limit_error", "Slow down"), {"retry-after": "5400"}),
            "429",
            "requests_per_second",
            5400,
        ),
        (
            Say(
                400,
                error("invalid_request_error", "Your credit balance is too low to access the API."),
            ),
            "credit balance is too low",
            "add credit",
            None,
        ),
        (
            Say(429, error("rate_limit_error", "Limit", error_code="enforced_spend_limit_reached")),
            "429",
            "raise the spend limit",
            None,
        ),
        (
            Say(401, error("authentication_error", f"invalid x-api-key {KEY}")),
            "x-api-key ***",
            "claude.api_key",
            None,
        ),
        (
            Say(404, error("not_found_error", "model: claude-haiku-5-5")),
            "404 to issues/respond@3f9c2a: model: claude-haiku-5-5 (model claude-haiku-5-5)",
            "set claude.model",
            None,
        ),
        (Say(307, {}, {"Location": "http://127.0.0.1:1/"}), "307", "claude.base_url", None),
        (Say(kind="hang"), "no answer from Claude: ", "claude.base_url", None),
        (Say(kind="cut", body=message(GOOD)), "no answer from Claude: ", "claude.base_url", None),
        (
            Say(200, b'{"id": "msg_1", '),
            "unexpected response from Claude to issues/respond@3f9c2a: the reply: is not JSON",
            "base_url",
            None,
        ),
    ],
    ids=lambda value: (
        f"{value.status} {str(value.body)[:60]} {value.headers}" if isinstance(value, Say) else ""
    ),
)
def test_failure_of_claude_raises_dependency_down_with_remedy(
    build: Build, server: FakeServer, say: Say, text: str, remedy: str, wait_s: float | None
) -> None:
    down = failure(build, server, say, timeout_s=0.2 if say.kind == "hang" else 60)
    assert isinstance(down, DependencyDown)
    assert down.dependency == "claude"
    # it may have been billed
    assert down.may_have_succeeded == (say.kind != "answer" or say.status == 200)
    assert text in str(down)
    assert remedy in down.remedy
    assert down.not_before == (None if wait_s is None else NOON + timedelta(seconds=wait_s))


@pytest.mark.parametrize(
    "body", [b" " * 1000, json.dumps(message(GOOD)).encode()], ids=["blanks", "reply"]
)
def test_response_that_is_still_arriving_at_the_limit_is_a_slow_response(
    build: Build, server: FakeServer, body: bytes
) -> None:
    server.says = [Say(body=body, kind="drip")]
    with pytest.raises(SlowResponse) as caught:
        build(timeout_s=0.3).ask(RENDERED)
    assert (
        str(caught.value)
        == "Claude was still sending its response to issues/respond@3f9c2a after claude.timeout_s"
        " (0.3)"
    )
    assert (
        caught.value.remedy
        == "raise claude.timeout_s, or choose a faster model; each call may be billed"
    )


def test_headers_that_are_still_arriving_at_the_limit_are_no_answer(
    build: Build, server: FakeServer
) -> None:
    server.says = [Say(kind="drip_headers")]
    with pytest.raises(DependencyDown, match=r"^no answer from Claude") as caught:
        build(timeout_s=0.3).ask(RENDERED)
    assert caught.value.may_have_succeeded


def test_refused_connection_raises_dependency_down(build: Build) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(
        DependencyDown, match=r"^no answer from Claude: Connection refused$"
    ) as caught:
        build(base_url=url).ask(RENDERED)
    assert caught.value.may_have_succeeded is False


# --- models
# -----------------------------------------------------------------------------


def test_lookup_model_returns_lifecycle(build: Build, server: FakeServer) -> None:
    known = {
        "id": "claude-haiku-5-5",
        "type": "model",
        "lifecycle": "deprecated",
        "max_tokens": 64_000,
    }
    # another provider omits it, or has only the Messages API
    server.says = [Say(body=known), Say(body={"id": "llama-9"}), Say(404, {"detail": "Not Found"})]
    found = [build().lookup_model(model) for model in ("claude-haiku-5-5", "llama-9", "other")]
    assert found == ["deprecated", "active", "unlisted"]
    assert server.calls == [
        f"GET /v1/models/{model}" for model in ("claude-haiku-5-5", "llama-9", "other")
    ]


# --- what a call costs, and its id
# -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("def f(a):\n", 10 * 1_000 / 3), ("\u8a08\u7b97", 1.5 * 2_000)],
    ids=["code", "Chinese"],
)
def test_upper_estimate_covers_what_a_thousand_repetitions_cost(
    build: Build, text: str, tokens: float
) -> None:
    client = build()
    without = client.upper_estimate(RENDERED)
    estimate = client.upper_estimate(replace(RENDERED, task=RENDERED.task + text * 1_000))
    added = estimate.cache_write_tokens - without.cache_write_tokens
    assert tokens - 2 <= added <= 1.3 * tokens
    assert (estimate.model, estimate.output_tokens) == (client.model_for(RENDERED), 4000)
    assert estimate.cost_usd is not None
    assert estimate.cost_usd > 4000 * 0.5e-6  # the price of output


@pytest.mark.parametrize(
    ("header", "stored"),
    [("req_011CSHoEeqs5C35K2UUqR7Fy", "req_011CSHoEeqs5C35K2UUqR7Fy"), ("x" * 101, None)],
    ids=["usual", "too long"],
)
def test_request_id_of_a_response_is_returned(
    build: Build, server: FakeServer, header: str, stored: str | None
) -> None:
    server.says = [
        Say(body=message(GOOD), headers={"request-id": header}),
        Say(529, error("overloaded_error", "Overloaded"), headers={"request-id": header}),
    ]
    client = build()
    assert client.ask(RENDERED).usage.request_id == stored
    with pytest.raises(DependencyDown) as caught:
        client.ask(RENDERED)
    assert caught.value.request_id == stored


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage("claude-haiku-5-5", input_tokens=100_000), 0.01),
        (Usage("claude-haiku-5-5", input_tokens=1, cache_read_tokens=199_999), 0.01),
        (Usage("claude-haiku-5-5", input_tokens=200_000, output_tokens=1_000), 0.1025),
        (Usage("claude-haiku-5-5-20261001", input_tokens=1_000), 0.0001),
    ],
)
def test_a_call_costs_its_list_price(usage: Usage, usd: float) -> None:
    claude = ClaudeSettings(api_key=SecretStr(KEY))
    assert with_price(usage, claude).cost_usd == pytest.approx(usd, abs=1e-6)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            Usage("m", input_tokens=900, output_tokens=1_000, output_usd=0.0005),
            PartialCost(400, 1_000, 0.0002),
        ),
        (Usage("m", output_tokens=1_000), PartialCost(400, 1_000, None)),
        (Usage("m"), None),
    ],
    ids=["a part", "without a known price", "from the cache"],
)
def test_a_part_of_a_reply_costs_its_share_of_the_output(
    usage: Usage, expected: PartialCost | None
) -> None:
    cost = cost_of_output(usage, 400)
    usd = None if cost is None or cost.usd is None else round(cost.usd, 9)
    assert (None if cost is None else replace(cost, usd=usd)) == expected
