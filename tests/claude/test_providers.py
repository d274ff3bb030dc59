"""Providers with their real SDKs over real HTTP: each kind against a fake of its API, and the chain
of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from hls_handler.analysis import REPLY_TYPES, Reply, UnusableReply, Usage
from hls_handler.claude.provider import Provider, request_schema, with_price
from hls_handler.claude.providers import Breakers, Providers, connect
from hls_handler.errors import (
    DependencyDown,
    ModelNotFound,
    Permanent,
    Postponed,
    RateLimited,
    SlowResponse,
)
from hls_handler.settings.providers import ClaudeSettings
from tests.claude.fake_models import ACCESS_KEY_ID, KEY, LEAKED, PROJECT, REGION, FakeModels
from tests.claude.test_anthropic_api import GOOD, PROMPT, RENDERED
from tests.fake_server import FakeServer, Say
from tests.github.review_world import NOON
from tests.settings.files import app_key

REFUSED = "http://127.0.0.1:1"  # nothing listens there
BEDROCK = "/model/eu.anthropic.claude-haiku-4-5-20251001-v1:0/invoke"
VERTEX = "/v1/projects/my-project/locations/eu-central-1/publishers/anthropic/models/claude-haiku-4-5:rawPredict"


@pytest.fixture
def models() -> Iterator[FakeModels]:
    with closing(FakeModels(lambda _question: GOOD)) as fake:
        yield fake


def settings(*fallbacks: Mapping[str, Any], **first: Any) -> ClaudeSettings:
    return ClaudeSettings.model_validate(
        {"api_key": KEY, "model": "claude-haiku-5-5", **first, "fallbacks": fallbacks}
    )


def open_provider(given: ClaudeSettings) -> closing[Provider]:
    return closing(Provider(given, given, connect, clock=lambda: 0.0, now=lambda: NOON))


def ask(given: ClaudeSettings) -> Reply | UnusableReply:
    with open_provider(given) as client:
        return client.ask(RENDERED)


def compatible(server: FakeServer, **more: Any) -> ClaudeSettings:
    """Return settings of a service with the Chat Completions API."""
    return settings(kind="openai", model="gpt-5-mini", base_url=server.url, **more)


def kinds(url: str) -> dict[str, dict[str, Any]]:
    """Return settings of each kind at the fake, by the path of the request."""
    bedrock = {
        "kind": "bedrock",
        "model": "eu.anthropic.claude-haiku-4-5-20251001-v1:0",
        "region": REGION,
        "base_url": url,
    }
    key = {"client_email": "hls@example.com", "private_key": app_key(), "token_uri": f"{url}/token"}
    return {
        "/v1/messages": {"base_url": url},
        "/v1/chat/completions": {"kind": "openai", "model": "gpt-5-mini", "base_url": f"{url}/v1"},
        "/openai/deployments/mini/chat/completions": {
            "kind": "azure",
            "model": "mini",
            "base_url": url,
        },
        BEDROCK: bedrock | {"access_key_id": ACCESS_KEY_ID},
        VERTEX: {
            "kind": "vertex",
            "api_key": json.dumps(key),
            "model": "claude-haiku-4-5",
            "region": REGION,
            "project": PROJECT,
            "base_url": f"{url}/v1",
        },
    }


VARIABLES = {
    "AWS_BEARER_TOKEN_BEDROCK": "of-the-environment",
    "AWS_ACCESS_KEY_ID": "of-the-environment",
    "ANTHROPIC_API_KEY": "of-the-environment",
    "ANTHROPIC_AUTH_TOKEN": "of-the-environment",
    "ANTHROPIC_PROFILE": "of-the-environment",
    "ANTHROPIC_BASE_URL": REFUSED,
    "ANTHROPIC_BEDROCK_BASE_URL": REFUSED,
    "ANTHROPIC_VERTEX_BASE_URL": REFUSED,
    "ANTHROPIC_CUSTOM_HEADERS": f"{LEAKED}: 1",
    "GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent",
    "OPENAI_API_KEY": "of-the-environment",
    "OPENAI_BASE_URL": REFUSED,
    "OPENAI_ORG_ID": LEAKED,
    "OPENAI_PROJECT_ID": LEAKED,
    "OPENAI_CUSTOM_HEADERS": f"{LEAKED}: 1",
    "AZURE_OPENAI_AD_TOKEN": "of-the-environment",
    "HTTP_PROXY": REFUSED,
    "ALL_PROXY": REFUSED,
}


@pytest.mark.parametrize("path", kinds(""))
@pytest.mark.parametrize("structured_output", [True, False])
def test_each_kind_sends_what_its_api_expects_and_ignores_the_environment(
    models: FakeModels, monkeypatch: pytest.MonkeyPatch, path: str, structured_output: bool
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    answer = ask(settings(**kinds(models.url)[path], structured_output=structured_output))
    assert isinstance(answer, Reply), answer
    ((asked, body),) = models.asked
    schema = request_schema(RENDERED.schema)
    of_openai = {
        "type": "json_schema",
        "json_schema": {"name": "reply", "schema": schema, "strict": True},
    }
    of_claude = {"format": {"type": "json_schema", "schema": schema}}
    name, form = ("response_format", of_openai) if "chat" in path else ("output_config", of_claude)
    system = body["messages"][0]["content"] if "chat" in path else body["system"][0]["text"]
    assert (asked, body.get(name)) == (path, form if structured_output else None)
    assert (json.dumps(schema) in system) is not structured_output
    assert system.startswith("You help.")


def test_bedrock_takes_a_bedrock_api_key(models: FakeModels) -> None:
    keys = {**kinds(models.url)[BEDROCK], "access_key_id": None}
    assert isinstance(ask(settings(**keys)), Reply)


def test_vertex_gets_one_token_for_many_requests(models: FakeModels) -> None:
    with open_provider(settings(**kinds(models.url)[VERTEX])) as client:
        assert [isinstance(client.ask(RENDERED), Reply) for _ in range(2)] == [True, True]
    assert models.tokens == 1


def test_rejected_key_of_vertex_costs_nothing(models: FakeModels) -> None:
    models.status = 401
    with pytest.raises(DependencyDown, match="Google rejected the key of vertex") as caught:
        ask(settings(**kinds(models.url)[VERTEX]))
    assert caught.value.remedy.startswith("set claude.api_key ")
    assert caught.value.may_have_succeeded is False


def test_check_of_the_model_of_vertex_checks_the_key(models: FakeModels) -> None:
    keys = kinds(models.url)[VERTEX]
    found = []
    for key in (keys["api_key"], "no-JSON"):
        vertex = settings(**keys | {"api_key": key})
        with open_provider(vertex) as client:
            try:
                found.append(client.lookup_model(vertex.model))
            except DependencyDown as exc:
                found.append(str(exc))
    assert found == ["unlisted", "Google rejected the key of vertex"]


def test_unreachable_token_service_of_google_is_an_outage(models: FakeModels) -> None:
    keys = kinds(models.url)[VERTEX]
    unreachable = json.loads(keys["api_key"]) | {"token_uri": f"{REFUSED}/token"}
    with pytest.raises(DependencyDown, match="no answer from vertex: Connection refused") as caught:
        ask(settings(**keys | {"api_key": json.dumps(unreachable)}))
    assert caught.value.may_have_succeeded is False


@pytest.mark.parametrize(
    ("path", "name"), [("/v1", "max_tokens"), ("/api.openai.com/v1", "max_completion_tokens")]
)
def test_name_of_the_limit_depends_on_the_service(server: FakeServer, path: str, name: str) -> None:
    server.says = [Say(body=completion(GOOD))]
    ask(settings(kind="openai", model="gpt-5-mini", base_url=f"{server.url}{path}"))
    assert {key: value for key, value in server.seen[0].body.items() if "tokens" in key} == {
        name: 4000
    }


def completion(content: str | None, finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    usage = more.pop("usage", {"prompt_tokens": 1000, "completion_tokens": 500})
    choice = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": content, **more},
    }
    return {"id": "c", "model": "gpt-5-mini-2025-08-07", "choices": [choice], "usage": usage}


@pytest.mark.parametrize(
    ("body", "why", "problem"),
    [
        (
            completion(GOOD, "length"),
            "truncated",
            "the reply was cut off after 500 tokens (max_tokens)",
        ),
        (
            completion(None, "content_filter"),
            "refused",
            "openai refused to answer (content_filter)",
        ),
        (
            completion(None, refusal="I cannot help."),
            "refused",
            "openai refused to answer: I cannot help",
        ),
        (completion("", "tool_calls"), "stopped", "openai stopped without a reply (tool_calls)"),
        (
            completion("no"),
            "invalid",
            "the reply: it has no JSON object with the fields worth_saying, sources, answer",
        ),
    ],
)
def test_completion_without_a_usable_reply(
    server: FakeServer, body: object, why: str, problem: str
) -> None:
    server.says = [Say(body=body)]
    answer = ask(compatible(server))
    assert isinstance(answer, UnusableReply)
    assert (answer.why, answer.problem[: len(problem)]) == (why, problem)


def test_cached_tokens_of_a_completion_are_counted_separately(server: FakeServer) -> None:
    details = {"cached_tokens": 400, "cache_write_tokens": 100}
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "prompt_tokens_details": details}
    server.says = [Say(body=completion(GOOD, usage=usage), headers={"x-request-id": "req_1"})]
    found = ask(compatible(server, price={"input": 2.0, "output": 10.0})).usage
    model = "gpt-5-mini-2025-08-07"
    assert found == Usage(model, 500, 500, 100, 400, 0.007, request_id="req_1", output_usd=0.005)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}},
    ],
)
def test_completion_with_an_impossible_usage_has_an_upper_estimate(
    server: FakeServer, usage: object
) -> None:
    server.says = [Say(body=completion(GOOD, usage=usage))]
    found = ask(compatible(server)).usage
    assert (found.is_estimate, found.output_tokens) == (True, 4000)


def error(message: str, **more: object) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


REJECTED_KEY = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]


@pytest.mark.parametrize(
    ("say", "kind", "message", "remedy"),
    [
        (
            Say(401, error(f"Incorrect API key: {KEY}")),
            DependencyDown,
            "openai answered 401",
            "set claude.api_key to a",
        ),
        (
            Say(429, error("Quota", code="insufficient_quota")),
            DependencyDown,
            "answered 429",
            "add credit",
        ),
        (
            Say(400, [error("No billing", status="FAILED_PRECONDITION")]),
            DependencyDown,
            "No billing",
            "add credit",
        ),
        (
            Say(429, error("Slow down")),
            RateLimited,
            "openai answered 429",
            "wait until the rate limit resets",
        ),
        (
            Say(503, b"<html>"),
            DependencyDown,
            "no reason given",
            "wait: openai is temporarily unavailable",
        ),
        (
            Say(200, error("Provider returned error")),
            DependencyDown,
            "unexpected response from openai",
            "check claude.b",
        ),
        (
            Say(404, error("No such model")),
            DependencyDown,
            "(model gpt-5-mini)",
            "set claude.model",
        ),
        (
            Say(400, [error("API Key not found.", code=400, details=REJECTED_KEY)]),
            DependencyDown,
            ": API Key not found.",
            "set claude.api_key",
        ),
    ],
)
def test_errors_of_a_compatible_service(
    server: FakeServer, say: Say, kind: type[DependencyDown], message: str, remedy: str
) -> None:
    server.says = [say]
    with pytest.raises(kind) as caught:
        ask(compatible(server))
    assert message in str(caught.value)
    assert caught.value.remedy.startswith(remedy)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "body", [error("context_length_exceeded"), [error("context_length_exceeded")]]
)
def test_request_that_the_service_rejects_is_no_outage(server: FakeServer, body: object) -> None:
    server.says = [Say(400, body)]
    with pytest.raises(
        Permanent, match="openai answered 400 to issues/respond@3f9c2a: context_length_exceeded"
    ):
        ask(compatible(server))


def test_models_are_looked_up_where_the_service_lists_them(server: FakeServer) -> None:
    given = compatible(server)
    server.says = [
        Say(body={"id": "gpt-5-mini"}),
        Say(404, error("?")),
        Say(404, error("?", code="model_not_found")),
    ]
    with closing(Providers(given, clock=lambda: 0.0, now=lambda: NOON)) as providers:
        assert [providers.lookup_model(), providers.lookup_model("other")] == ["active", "unlisted"]
        with pytest.raises(ModelNotFound):
            providers.lookup_model("gone")
    assert server.calls == ["GET /models/gpt-5-mini", "GET /models/other", "GET /models/gone"]


@pytest.mark.parametrize("reply", REPLY_TYPES)
def test_schemas_are_strict_and_without_keywords_that_an_api_rejects(reply: str) -> None:
    def requires_all(node: Any) -> bool:
        """Return whether each object requires all of its properties and allows no others, as
        OpenAI's strict mode does.
        """
        if isinstance(node, list):
            return all(map(requires_all, node))
        if not isinstance(node, dict):
            return True
        names = set(node.get("properties", ()))
        is_closed = "properties" not in node or (
            names == set(node["required"]) and node["additionalProperties"] is False
        )
        return is_closed and all(map(requires_all, node.values()))

    schema = request_schema(REPLY_TYPES[reply].model_json_schema())
    assert requires_all(schema)
    rejected = ("maxLength", "maxItems", "minimum", "maximum", "default")
    assert [keyword for keyword in rejected if f'"{keyword}"' in json.dumps(schema)] == []


# --- prices
# -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("anthropic/claude-haiku-5-5", 3.0),  # 0.5 and 2.5: the prompt is long
        ("openai/gpt-5-mini", 2.25),
        ("bedrock/eu.anthropic.claude-haiku-5-5-v1:0", 3.3),
        ("own/anything", 4.0),
        ("local/llama", 24.0),  # unknown: as claude-opus-5-5
    ],
)
def test_price_is_that_of_the_service_or_of_the_settings_or_of_the_dearest_model(
    model: str, usd: float
) -> None:
    openai: dict[str, Any] = {"kind": "openai", "api_key": "k", "model": "m"}
    fallbacks = [
        openai,
        openai | {"kind": "bedrock", "region": REGION},
        openai | {"name": "own", "price": {"input": 1.0, "output": 3.0}},
        openai | {"name": "local", "base_url": "http://127.0.0.1:11434/v1"},
    ]
    usage = Usage(model, input_tokens=1_000_000, output_tokens=1_000_000)
    assert with_price(usage, settings(*fallbacks)).cost_usd == pytest.approx(usd, abs=1e-6)


def test_price_of_an_unknown_answering_model_is_that_of_the_one_that_was_asked(
    server: FakeServer,
) -> None:
    server.says = [Say(body=completion(GOOD) | {"model": "alias-of-the-service"})]
    given = settings(kind="azure", model="gpt-5-mini", base_url=server.url)
    assert ask(given).usage.cost_usd == pytest.approx(0.00125, abs=1e-9)


# --- the chain
# -----------------------------------------------------------------------------


class Chain:
    """Two services, of which the second has the Chat Completions API, and a clock that the test
    moves.
    """

    def __init__(self, first: FakeServer, second: FakeModels, **changes: Any) -> None:
        self.now, self.first, self.second = NOON, first, second
        fallback = {
            "kind": "openai",
            "api_key": KEY,
            "model": "gpt-5-mini",
            "base_url": f"{second.url}/v1",
        }
        self.settings = settings(fallback, base_url=first.url, **changes)
        self.breakers = Breakers(self.read_clock)
        self.providers = Providers(
            self.settings, clock=lambda: 0.0, now=self.read_clock, breakers=self.breakers
        )

    def read_clock(self) -> datetime:
        return self.now

    def ask(self, *says: Say, model: str | None = None, conversation: str = "") -> str:
        """Ask with these answers of the first service; return the model that answered."""
        self.first.says, self.first.seen[:] = list(says), []
        rendered = replace(RENDERED, prompt=replace(PROMPT, model=model))
        answer = self.providers.answer(rendered, conversation=conversation)
        return answer.usage.model


@pytest.fixture
def chain(server: FakeServer, models: FakeModels) -> Iterator[Chain]:
    made = Chain(server, models)
    with closing(made.providers):
        yield made


MESSAGE = {
    "model": "claude-haiku-5-5",
    "content": [{"type": "text", "text": GOOD}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 10},
}
FIRST, SECOND = "anthropic/claude-haiku-5-5", "openai/gpt-5-mini"


@pytest.mark.parametrize(
    ("say", "model"),
    [
        (Say(body=MESSAGE), FIRST),
        (Say(529), SECOND),
        (Say(kind="drop"), SECOND),
        (Say(401, error("invalid")), SECOND),
        (Say(403, error("not this model")), SECOND),
        (Say(400, error("Your credit balance is too low")), SECOND),
        (Say(429, error("limit"), {"retry-after": "61"}), SECOND),
        (Say(429, error("Resource exhausted")), SECOND),
        (Say(body=b"<html>"), SECOND),
        (Say(body={**MESSAGE, "stop_reason": "refusal"}), FIRST),
        (Say(body={**MESSAGE, "content": []}), FIRST),
    ],
    ids=[
        "ok",
        "outage",
        "no answer",
        "key",
        "permission",
        "credit",
        "long limit",
        "endless",
        "no message",
        "refusal",
        "invalid",
    ],
)
def test_falls_back_on_outages_limits_and_rejected_keys_but_not_on_replies(
    chain: Chain, say: Say, model: str
) -> None:
    assert chain.ask(say) == model


@pytest.mark.parametrize(
    ("say", "kind"),
    [
        (Say(429, error("limit"), {"retry-after": "60"}), RateLimited),
        (Say(400, error("too long")), Permanent),
    ],
)
def test_short_limits_and_rejected_requests_do_not_lead_to_another_provider(
    chain: Chain, say: Say, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        chain.ask(say)
    assert (chain.second.asked, chain.ask(Say(body=MESSAGE))) == ([], FIRST)


def test_short_limits_for_over_a_minute_lead_to_the_next_provider(chain: Chain) -> None:
    short = Say(429, error("limit"), {"retry-after": "5"})
    for _ in range(13):  # from 0 to 60 seconds
        with pytest.raises(RateLimited):
            chain.ask(short)
        chain.now += timedelta(seconds=5)
    assert chain.ask(short) == SECOND
    assert str(chain.providers.find_outage())[:19] == "Claude answered 429"


@pytest.mark.parametrize("between", [Say(body=MESSAGE), Say(529)], ids=["answer", "outage"])
def test_another_response_ends_a_series_of_short_limits(chain: Chain, between: Say) -> None:
    short = Say(429, error("limit"), {"retry-after": "30"})
    with pytest.raises(RateLimited):
        chain.ask(short)
    chain.now += timedelta(seconds=30)
    chain.ask(between)
    chain.now += timedelta(seconds=60)
    with pytest.raises(RateLimited):
        chain.ask(short)


def test_limit_of_an_account_is_tested_each_minute_before_the_named_date(chain: Chain) -> None:
    limited = Say(400, error("API usage limits: you will regain access on 2026-12-01 at 00:00 UTC"))
    assert chain.ask(limited, limited) == SECOND
    assert "regain access" in str(chain.providers.find_outage())
    chain.now += timedelta(seconds=59)
    assert (chain.ask(), chain.first.calls) == (SECOND, [])
    chain.now += timedelta(seconds=1)
    assert chain.ask(limited, limited) == SECOND
    chain.now += timedelta(minutes=1)
    assert (chain.ask(Say(body=MESSAGE)), chain.providers.find_outage()) == (FIRST, None)


def test_breaker_spares_the_provider_requests_for_a_minute_and_closes_after_a_probe(
    chain: Chain,
) -> None:
    assert chain.ask(Say(529)) == SECOND
    assert str(chain.providers.find_outage())[:19] == "Claude answered 529"
    chain.now += timedelta(seconds=59)
    assert (chain.ask(), chain.first.calls) == (SECOND, [])
    chain.now += timedelta(seconds=1)
    assert (chain.ask(Say(529)), len(chain.first.calls)) == (SECOND, 1)
    assert (chain.ask(), chain.first.calls) == (SECOND, [])
    chain.now += timedelta(seconds=60)
    assert (chain.ask(Say(body=MESSAGE)), chain.providers.find_outage()) == (FIRST, None)
    assert chain.ask(Say(body=MESSAGE)) == FIRST


def test_breaker_stays_open_as_long_as_the_service_asks_to_wait(chain: Chain) -> None:
    chain.ask(Say(529, headers={"retry-after": "300"}))
    chain.now += timedelta(seconds=299)
    assert chain.ask() == SECOND
    chain.now += timedelta(seconds=1)
    assert chain.ask(Say(body=MESSAGE)) == FIRST


def test_only_one_call_is_a_probe(chain: Chain) -> None:
    chain.ask(Say(529))
    chain.now += timedelta(minutes=1)
    assert [chain.breakers.allows(chain.settings) for _ in range(3)] == [True, False, False]


def test_probe_that_was_not_sent_is_left_to_the_next_call(chain: Chain) -> None:
    chain.ask(Say(529))
    chain.now += timedelta(minutes=1)
    probed = chain.providers.chain(None)
    assert probed.next().settings is chain.settings
    with pytest.raises(Postponed):
        probed.fail(Postponed("waits for a slot", at=chain.now))
    assert chain.ask(Say(body=MESSAGE)) == FIRST


@pytest.fixture
def slow_chain(server: FakeServer, models: FakeModels) -> Iterator[Chain]:
    made = Chain(server, models, timeout_s=0.3)
    with closing(made.providers):
        yield made


SLOW = Say(body=b" " * 1000, kind="drip")


def test_slow_response_that_a_second_delivery_meets_leads_to_the_fallback(
    slow_chain: Chain,
) -> None:
    for _ in range(2):
        with pytest.raises(SlowResponse):
            slow_chain.ask(SLOW, conversation="one")
    assert slow_chain.ask(SLOW, conversation="two") == SECOND
    outage = str(slow_chain.providers.find_outage())
    assert outage.startswith("Claude was still sending its response")
    assert (slow_chain.ask(conversation="one"), slow_chain.first.calls) == (SECOND, [])


def test_a_response_in_time_ends_the_count_of_slow_ones(slow_chain: Chain) -> None:
    with pytest.raises(SlowResponse):
        slow_chain.ask(SLOW, conversation="one")
    assert slow_chain.ask(Say(body=MESSAGE), conversation="two") == FIRST
    with pytest.raises(SlowResponse):
        slow_chain.ask(SLOW, conversation="three")


def test_changed_settings_close_the_breaker(chain: Chain) -> None:
    chain.ask(Say(401, error("invalid")))
    changed = chain.settings.model_copy(update={"timeout_s": 60.0})
    assert [chain.breakers.allows(one) for one in (chain.settings, changed)] == [False, True]


def test_error_of_the_last_provider_is_raised_and_waits_no_longer_than_for_the_first(
    chain: Chain,
) -> None:
    chain.second.status, chain.second.headers = 503, {"retry-after": "3600"}
    with pytest.raises(DependencyDown, match="openai answered 503") as caught:
        chain.ask(Say(529))
    assert caught.value.not_before == NOON + timedelta(minutes=1)
    assert caught.value.remedy == "wait: openai is temporarily unavailable"


def test_error_of_a_fallback_names_its_settings(chain: Chain) -> None:
    chain.second.status = 401
    with pytest.raises(DependencyDown) as caught:
        chain.ask(Say(529))
    assert caught.value.remedy.startswith("set claude.fallbacks[0].api_key to a valid key")


@pytest.mark.parametrize(
    ("model", "says", "answered"),
    [
        ("openai/gpt-5", (), "openai/gpt-5"),
        ("anthropic/claude-haiku-5-5", (Say(body=MESSAGE),), FIRST),
        ("claude-opus-5-5", (Say(529),), SECOND),
        ("deepseek/deepseek-chat", (Say(529),), SECOND),
    ],
)
def test_prompt_names_a_provider_by_a_prefix(
    chain: Chain, model: str, says: tuple[Say, ...], answered: str
) -> None:
    assert chain.ask(*says, model=model) == answered
    assert [seen.body["model"] for seen in chain.first.seen] == [
        model.removeprefix("anthropic/")
    ] * len(says)


def test_provider_that_a_prompt_names_is_followed_by_the_others(chain: Chain) -> None:
    chain.second.status = 500
    assert chain.ask(Say(body=MESSAGE), model="openai/gpt-5") == FIRST
    assert str(chain.providers.find_outage())[:19] == "openai answered 500"
    chain.now += timedelta(minutes=1)
    assert (chain.ask(Say(body=MESSAGE)), chain.providers.find_outage()) == (FIRST, None)


def test_without_fallbacks_a_slash_is_part_of_the_model(server: FakeServer) -> None:
    model = "anthropic/claude-opus-5"
    server.says = [Say(body={**MESSAGE, "model": model})]
    given = settings(base_url=server.url)
    with closing(Providers(given, clock=lambda: 0.0, now=lambda: NOON)) as providers:
        rendered = replace(RENDERED, prompt=replace(PROMPT, model=model))
        answer = providers.answer(rendered)
    assert (server.seen[0].body["model"], answer.usage.model) == (model, model)
