"""A service that answers prompts: sends a rendered prompt once, and returns a validated reply or
why it has none.

This part is the same for all services: schema, validation, tokens, price, and the translation of
the SDKs' exceptions into HLS's errors. `anthropic_api.py` and `openai_api.py` have the two families
of APIs. Their SDKs are imported inside functions, because an import takes half of a command's start
time. No environment variables of the SDKs are read.
"""

from __future__ import annotations

import json
import math
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol, TypeVar

import genai_prices
import httpx2
from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from hls_handler.analysis import (
    Effort,
    Prompt,
    RenderedPrompt,
    Reply,
    Unusable,
    UnusableReply,
    Usage,
    estimate_tokens,
)
from hls_handler.claude.reply_parsing import UnreadableReply, describe_problems, parse_reply
from hls_handler.errors import (
    REJECTED,
    AccountLimited,
    DependencyDown,
    ModelNotFound,
    Permanent,
    RateLimited,
    RequestRejected,
    SlowResponse,
    StepFailed,
)
from hls_handler.settings.providers import OPUS, ClaudeSettings, ProviderKind, ProviderSettings
from hls_handler.transport import (
    ProxySettings,
    find_proxy_settings,
    read_body,
    redact_secret,
    retry_after,
)
from hls_handler.wording import count, shorten

KEY_REMEDY = f"set claude.api_key to a valid key: {REJECTED}"
CREDIT_REMEDY = "add credit, or raise the spend limit, of the account of claude.api_key"
_MODEL_KEYS = "set claude.model, claude.review_model or the prompt's model to one that"
PERMISSION_REMEDY = f"give the key claude.api_key access to this model, or {_MODEL_KEYS} it may use"
MODEL_REMEDY = f"{_MODEL_KEYS} this key may use, and check claude.base_url"
REQUEST_REMEDY = (
    "check that prompt with `hls render`, shorten or correct it, then run the delivery again"
)
GATEWAY_REMEDY = (
    "a gateway between HLS and Claude limits the size of requests: raise its limit, or lower"
    " claude.input_tokens"
)
CONFIGURATION_REMEDY = (
    "correct claude.model, claude.kind or what else the message names: until then all deliveries"
    " wait, and one tries again every ten minutes"
)
ACCOUNT_REMEDY = "wait, or see the limits and the state of the account of claude.api_key"
LIMIT_REMEDY = "wait until the rate limit resets; a lower claude.requests_per_second avoids it"
STATUS_PAGE = " (https://status.claude.com)"
OUTAGE_REMEDY = f"wait: Claude is temporarily unavailable{STATUS_PAGE}"
SLOW_REMEDY = "raise claude.timeout_s, or choose a faster model; each call may be billed"
ADDRESS_REMEDY = "check claude.base_url, and proxies and firewalls between this host and Claude"

BILLING = (
    "billing_error",
    "credit balance",
    "spend_limit",
    "insufficient_quota",
    "failed_precondition",
)
"""Parts of errors about an account without credit, spend limit or billing, which have the status
400 or 429.
"""
LIMITED = ("usage limit", "billing", "has been disabled")
"""Parts of messages about a limit or the state of an account, which have the status 400, as errors
about a prompt have.
"""
BLOCKED = ("content filtering policy", "content_filter", "content management policy")
"""Parts of a 400 about a reply that Anthropic's API or Azure did not send."""
LIMIT_RETRY = timedelta(minutes=10)
"""A limit of an account may be raised before its end. A rejected call costs nothing."""

REJECTED_KEY = "API_KEY_INVALID"
"""Google's reason for a wrong or expired key, which has the status 400."""


@dataclass(frozen=True, slots=True)
class ConfiguredProvider:
    """A provider as messages name it."""

    settings: ProviderSettings
    key: str  # "claude.fallbacks[0]"
    title: str  # "Claude" or its name
    proxy: ProxySettings
    now: Callable[[], datetime]

    @property
    def secret(self) -> str:
        return self.settings.api_key.get_secret_value()

    def localize(self, remedy: str) -> str:
        """Return a remedy with the keys and the name of this provider in place of those of the
        first one.
        """
        if self.title != "Claude":
            remedy = remedy.replace("Claude", self.title).replace(STATUS_PAGE, "")
        return re.sub(
            r"\bclaude\.(api_key|model|review_model|base_url)\b", rf"{self.key}.\1", remedy
        )


def translate(exc: Exception, service: ConfiguredProvider, *, label: str, model: str) -> StepFailed:
    """Return HLS's error for an exception of an SDK or of its transport. The message does not
    contain the key.

    If the service sent an error response, the message begins with "Claude answered 401 to" and
    `label`.
    """
    response: httpx2.Response | None = getattr(exc, "response", None)
    if response is None:
        never_connected = isinstance(
            exc.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError
        )
        return no_answer(exc, service, may_have_succeeded=not never_connected)
    failed = _translate_response(response, getattr(exc, "body", None), service, label, model)
    failed.request_id = find_request_id(response.headers)
    return failed


def _translate_response(
    response: httpx2.Response, body: object, service: ConfiguredProvider, label: str, model: str
) -> StepFailed:
    status = response.status_code
    error = _read_error(body)
    kinds = error.kinds
    message = error.message
    if message is not None:
        message = redact_secret(message, service.secret)
    what = f"{service.title} answered {status} to {label}: {message or 'no reason given'}"
    retry_at = retry_after(response.headers, service.now())
    if status == 402 or any(part in f"{kinds} {message}".lower() for part in BILLING):
        return limit_of_account(service, what, CREDIT_REMEDY, retry_at)
    if status == 401 or (status == 400 and REJECTED_KEY in kinds):
        return down(service, what, KEY_REMEDY)
    if status == 403:
        return down(service, what, PERMISSION_REMEDY)
    if status == 404:
        return down(service, f"{what} (model {model})", MODEL_REMEDY)
    if status == 429:
        return RateLimited(what, dependency="claude", remedy=LIMIT_REMEDY, not_before=retry_at)
    if status >= 500 or status in (408, 409):
        return down(service, what, OUTAGE_REMEDY, retry_at)
    if status == 413 and message is None:
        return Permanent(f"{what}; {GATEWAY_REMEDY}")
    if status == 413:
        return Permanent(f"{what}; {REQUEST_REMEDY}")
    if status == 400 and any(part in f"{message}".lower() for part in LIMITED):
        return limit_of_account(service, what, ACCOUNT_REMEDY)
    if status in (400, 422) and message is not None:
        return RequestRejected(f"{what}; {REQUEST_REMEDY}", reason=message)
    return down(service, what, ADDRESS_REMEDY)


def find_refusal(exc: Exception) -> str | None:
    """Return the text of an error response that says that the reply was blocked, else None."""
    error = _read_error(getattr(exc, "body", None))
    text = f"{error.kinds} {error.message}".lower()
    if getattr(exc, "status_code", None) == 400 and any(part in text for part in BLOCKED):
        return error.message or ""
    return None


def reject_all(error: RequestRejected, service: ConfiguredProvider) -> AccountLimited:
    """Return the error for a request that was rejected as those of another conversation are.

    It is tried again later than others, because its own text may be the reason.
    """
    return AccountLimited(
        str(error).removesuffix(f"; {REQUEST_REMEDY}"),
        dependency="claude",
        remedy=service.localize(CONFIGURATION_REMEDY),
        not_before=service.now() + 2 * LIMIT_RETRY,
    )


@dataclass(frozen=True, slots=True)
class _Error:
    message: str | None = None
    kinds: str = ""  # as one text


def _read_error(body: Any) -> _Error:
    """Return the error in a response.

    The SDK of OpenAI passes the value of "error", that of Anthropic all of the body; AWS has no
    "error", Gemini a list.
    """
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, Mapping):
        return _Error()
    error = body.get("error", body)
    if not isinstance(error, Mapping):
        return _Error()
    details = error.get("details")
    code = error.get("code")
    reasons = []
    if isinstance(details, Mapping):
        code = details.get("error_code")
    elif isinstance(details, list):
        reasons = [detail.get("reason") for detail in details if isinstance(detail, Mapping)]
    kinds = f"{error.get('type')} {error.get('status')} {code} {reasons}"
    message = error.get("message")
    if not isinstance(message, str):
        message = None
    return _Error(message, kinds)


def no_answer(
    exc: Exception, service: ConfiguredProvider, *, may_have_succeeded: bool = False
) -> DependencyDown:
    reason, remedy = service.proxy.explain_failure(exc, otherwise=ADDRESS_REMEDY)
    return down(
        service,
        f"no answer from {service.title}{reason}",
        remedy,
        may_have_succeeded=may_have_succeeded,
    )


def unexpected_response(service: ConfiguredProvider, label: str, what: str) -> DependencyDown:
    """Return the error for a response with status 200 and an invalid body."""
    message = f"unexpected response from {service.title} to {label}: {what}"
    return down(service, message, ADDRESS_REMEDY, may_have_succeeded=True)


def limit_of_account(
    service: ConfiguredProvider, what: str, remedy: str, retry_at: datetime | None = None
) -> DependencyDown:
    """Return the error about an account; an `AccountLimited` if its message names the end of the
    limit.
    """
    now = service.now()
    ends_at = find_date(what, now)
    if ends_at is None:
        return down(service, what, remedy, retry_at)
    return AccountLimited(
        what,
        dependency="claude",
        remedy=service.localize(remedy),
        not_before=min(ends_at, now + LIMIT_RETRY),
    )


DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:(?: at |[T ])(\d\d:\d\d))?")


def find_date(text: str, now: datetime) -> datetime | None:
    """Return the last time after `now` that a text names, as "2026-12-01 at 00:00" (UTC); None
    without one.
    """
    dates = []
    for day, time in DATE.findall(text):
        try:
            named = datetime.fromisoformat(f"{day}T{time or '00:00'}")
        except ValueError:  # there is no such day
            continue
        dates.append(named.replace(tzinfo=UTC))
    return max((date for date in dates if date > now), default=None)


def down(
    service: ConfiguredProvider,
    message: str,
    remedy: str,
    not_before: datetime | None = None,
    *,
    may_have_succeeded: bool = False,
) -> DependencyDown:
    return DependencyDown(
        message,
        dependency="claude",
        remedy=service.localize(remedy),
        not_before=not_before,
        may_have_succeeded=may_have_succeeded,
    )


MAX_REQUEST_ID_CHARS = 100


def find_request_id(headers: Mapping[str, str]) -> str | None:
    names = ("request-id", "x-request-id", "x-amzn-requestid")
    request_id = next((headers[name] for name in names if name in headers), "")
    if (
        request_id.isascii()
        and request_id.isprintable()
        and 0 < len(request_id) <= MAX_REQUEST_ID_CHARS
    ):
        return request_id
    return None


KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
"""Socket options that keep a connection open while a reply is written, which may take minutes."""

if hasattr(socket, "TCP_KEEPIDLE"):  # not on every platform
    KEEPALIVE.append((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60))

# more in one response is an error of the server; the database stores 64 bits
MAX_TOKENS_COUNTED = 1_000_000_000

MAX_BYTES = 16_384
MAX_BYTES_PER_TOKEN = 32
"""Limit of a response: a fixed part, and a part for each token of `max_tokens`. A token has about 4
bytes, and up to 12 if every character is escaped. Validating, redacting and rendering a megabyte
takes more than a second.
"""

# of the estimated tokens, reserved in addition: dense code has 3 characters a token instead of 3.5
MARGIN = 0.25

CORRECTION = (
    "That reply could not be used: {problem}\n\n"
    "Answer again with the whole JSON object, corrected. All earlier instructions still apply."
)

SCHEMA_IN_PROMPT = (
    "Answer with one JSON object that fits this JSON Schema, and with nothing else:\n{schema}"
)


@dataclass(frozen=True, slots=True)
class Question:
    """One request, for either family of APIs."""

    model: str
    max_tokens: int
    effort: Effort | None
    system: str  # may be blank
    messages: tuple[tuple[Literal["user", "assistant"], str], ...]
    schema: Mapping[str, object] | None  # that the service enforces; None: `system` asks for JSON
    label: str  # the prompt's id, for errors

    @property
    def max_bytes(self) -> int:
        return MAX_BYTES + MAX_BYTES_PER_TOKEN * self.max_tokens


StopReason = Literal["ended", "max_tokens", "context_window", "refused", "oversized", "other"]


@dataclass(frozen=True, slots=True)
class ProviderResponse:
    """The response of a service. `why` is its reason to give no reply, or another one to stop."""

    text: str
    stop: StopReason
    why: str = ""
    usage: Usage | None = None  # without price; None: absent or impossible
    model: str | None = None
    request_id: str | None = None


class ProviderApi(Protocol):
    """Client of one family of APIs. Not thread-safe. `errors` are its SDK's; the SDK opens streamed
    responses.
    """

    @property
    def errors(self) -> type[Exception]: ...

    def open(self, question: Question) -> AbstractContextManager[Any]: ...

    def open_model(self, model: str) -> AbstractContextManager[Any] | None:
        """Return None if the service has no endpoint for one model."""
        ...

    def read(self, body: bytes, label: str) -> ProviderResponse:
        """Raises `DependencyDown` if the body is not one of the API."""
        ...


class _Model(BaseModel):  # https://platform.claude.com/docs/en/api/models/retrieve
    id: str
    lifecycle: str = "active"  # "deprecated", "retired"; other services omit it


UNKNOWN_MODEL = frozenset({"not_found_error", "model_not_found"})
"""Kinds of a 404 about a model. With another one, the service has no endpoint for models."""


@dataclass(frozen=True, slots=True)
class ProviderConnection:
    """The HTTP client, and the settings, for the client of an SDK."""

    service: ConfiguredProvider
    http: httpx2.Client
    timeout_s: float  # limit of a request as a whole


class Provider:
    """Client for one service. Not thread-safe: use one per worker thread."""

    def __init__(
        self,
        settings: ProviderSettings,
        claude: ClaudeSettings,
        connect: Callable[[ProviderConnection], ProviderApi],
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """`clock` returns monotonic seconds, to measure calls; `now` returns aware UTC, to
        interpret Retry-After.

        `settings` are one of `claude.providers`. Raises `SettingsError` if the proxy or certificate
        settings cannot be used.
        """
        self.settings = settings
        self._claude = claude
        self._clock = clock
        proxy = find_proxy_settings(settings.base_url)
        self._service = ConfiguredProvider(
            settings, claude.find_key(settings), claude.title_of(settings), proxy, now
        )
        # The SDKs' own clients always read the proxy variables.
        transport = proxy.new_transport(claude.timeout_s, socket_options=KEEPALIVE)
        self._http = httpx2.Client(transport=transport, trust_env=False)
        self._connect = connect

    @cached_property
    def _api(self) -> ProviderApi:
        """Its SDK takes longer to import than all else of a start."""
        return self._connect(ProviderConnection(self._service, self._http, self._claude.timeout_s))

    def close(self) -> None:
        self._http.close()

    def lookup_model(self, model: str) -> str:
        """Return "active", "deprecated" or "retired"; "unlisted" if the service has no models
        endpoint.

        Raises `DependencyDown`, and its subclass `ModelNotFound` if the service does not know the
        model.
        """
        label = f"the request for the model {model}"
        api = self._api
        opened = api.open_model(model)
        if opened is None:
            return "unlisted"
        try:
            body = _fetch(opened, MAX_BYTES).body
        except (api.errors, httpx2.HTTPError) as exc:
            failed = translate(exc, self._service, label=label, model=model)
            if getattr(exc, "status_code", None) != 404:
                raise failed from None
            if not UNKNOWN_MODEL & {getattr(exc, "type", None), getattr(exc, "code", None)}:
                return "unlisted"
            remedy = self._service.localize(MODEL_REMEDY)
            raise ModelNotFound(str(failed), dependency="claude", remedy=remedy) from None
        if body is None:
            raise unexpected_response(self._service, label, f"it is over {MAX_BYTES} bytes")
        return parse_body(_Model, body, service=self._service, label=label).lifecycle

    def reject_all(self, error: RequestRejected) -> AccountLimited:
        """Return the error for a request that is rejected as those of another conversation are."""
        return reject_all(error, self._service)

    def model_for(self, rendered: RenderedPrompt) -> str:
        """Return the model of the prompt, if it names one of this provider, or else of the
        settings.
        """
        prompt = rendered.prompt
        named, model = self._claude.find_model(prompt.model, is_review=prompt.is_review)
        if named is self.settings:
            return model
        return self.settings.default_model(is_review=prompt.is_review)

    def ask(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Reply | UnusableReply:
        """Send one request. If `correction` is an earlier reply, the model is asked to correct its
        errors.

        Raises `DependencyDown` if the service fails or rejects the account, `SlowResponse` if it is
        still sending after `claude.timeout_s`, and `Permanent` for an invalid request.
        """
        model = self.model_for(rendered)
        question = self._question(rendered, model, correction)
        api = self._api  # whose import is no time of the call
        started = self._clock()
        response = self._send(api, question)
        took_s = self._clock() - started
        named = self._claude.name_model(self.settings, response.model or model)
        if response.usage is None:
            usage = self.upper_estimate(rendered, correction=correction)
            usage = replace(usage, model=named, is_estimate=True)
        else:
            model_name = self._claude.name_model(self.settings, model)
            usage = with_price(
                replace(response.usage, model=named), self._claude, requested_model=model_name
            )
        usage = replace(usage, took_s=took_s, request_id=response.request_id)
        return self._read_reply(response, rendered.prompt, usage)

    def _send(self, api: ProviderApi, question: Question) -> ProviderResponse:
        try:
            fetched = _fetch(api.open(question), question.max_bytes)
        except httpx2.ReadTimeout:  # of the body: the SDKs have their own errors before it
            limit = f"claude.timeout_s ({self._claude.timeout_s:g})"
            message = (
                f"{self._service.title} was still sending its response to {question.label} after"
                f" {limit}"
            )
            raise SlowResponse(message, remedy=SLOW_REMEDY) from None
        except (api.errors, httpx2.HTTPError) as exc:
            refusal = find_refusal(exc)
            if refusal is None:
                raise translate(
                    exc, self._service, label=question.label, model=question.model
                ) from None
            why = describe_refused(redact_secret(refusal, self._service.secret))
            headers = getattr(getattr(exc, "response", None), "headers", {})
            not_billed = Usage(question.model)
            return ProviderResponse(
                "", "refused", why, not_billed, request_id=find_request_id(headers)
            )
        if fetched.body is not None:
            response = api.read(fetched.body, question.label)
            return replace(response, request_id=fetched.request_id)
        limit = (
            f"{question.max_bytes} bytes ({MAX_BYTES}, and {MAX_BYTES_PER_TOKEN} for each of"
            f" {question.max_tokens} max_tokens)"
        )
        why = f"the response is over {limit}"
        return ProviderResponse("", "oversized", why, request_id=fetched.request_id)

    def _question(
        self, rendered: RenderedPrompt, model: str, correction: UnusableReply | None
    ) -> Question:
        prompt = rendered.prompt
        system = rendered.system
        schema: Mapping[str, object] | None = request_schema(rendered.schema)
        if not self.settings.structured_output:
            system = f"{system}\n\n{SCHEMA_IN_PROMPT.format(schema=json.dumps(schema))}".strip()
            schema = None
        messages: list[tuple[Literal["user", "assistant"], str]] = [("user", rendered.task)]
        if correction is not None:
            if correction.text.strip():
                messages.append(("assistant", correction.text))
            messages.append(("user", CORRECTION.format(problem=correction.problem)))
        return Question(
            model=model,
            max_tokens=prompt.max_tokens or self._claude.max_tokens,
            effort=prompt.effort,
            system=system,
            messages=tuple(messages),
            schema=schema,
            label=prompt.id,
        )

    def upper_estimate(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Usage:
        """Return what to reserve for `ask`: uncached input of the estimated tokens and a quarter,
        and `max_tokens`.
        """
        prompt = rendered.prompt
        texts = [rendered.system, rendered.task, json.dumps(rendered.schema)]
        if correction is not None:
            texts += [correction.text, correction.problem, CORRECTION]
        upper_usage = Usage(
            self._claude.name_model(self.settings, self.model_for(rendered)),
            cache_write_tokens=math.ceil(sum(map(estimate_tokens, texts)) * (1 + MARGIN)),
            output_tokens=prompt.max_tokens or self._claude.max_tokens,
        )
        return with_price(upper_usage, self._claude)

    def _read_reply(
        self, response: ProviderResponse, prompt: Prompt, usage: Usage
    ) -> Reply | UnusableReply:
        title = self._service.title

        def unusable(why: Unusable, problem: str) -> UnusableReply:
            return UnusableReply(prompt.id, why, problem, response.text, usage)

        match response.stop:
            case "max_tokens":
                cut = (
                    f"the reply was cut off after {count(usage.output_tokens, 'token')}"
                    " (max_tokens)"
                )
                return unusable("truncated", cut)
            case "context_window":
                return unusable(
                    "truncated",
                    "prompt and reply together are longer than the model's context window",
                )
            case "refused":
                return unusable("refused", f"{title} refused to answer{response.why}")
            case "oversized":
                return unusable("oversized", response.why)
        try:
            parsed = parse_reply(response.text, prompt.reply_model)
        except UnreadableReply as exc:
            if response.stop == "ended":
                return unusable("invalid", str(exc))
            return unusable(
                "stopped",
                f"{title} stopped without a reply ({shorten(response.why or 'no stop reason')})",
            )
        return Reply(prompt.id, prompt.reply, parsed.reply, usage, lost=parsed.lost)


def request_schema(schema: Mapping[str, object]) -> dict[str, object]:
    """Return the JSON schema to send. APIs reject bounds (`maxLength`), so they are moved into the
    descriptions.
    """
    import anthropic

    return anthropic.transform_schema(dict(schema))


@dataclass(frozen=True, slots=True)
class _Fetched:
    body: bytes | None  # None: it is too large
    request_id: str | None


def _fetch(opened: AbstractContextManager[Any], max_bytes: int) -> _Fetched:
    with opened as response:
        body = read_body(response.iter_bytes(), max_bytes)
        return _Fetched(body, find_request_id(response.headers))


M = TypeVar("M", bound=BaseModel)

TokenCount = Annotated[int, Field(ge=0, le=MAX_TOKENS_COUNTED)]


def _valid_or_none(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


OrNone = WrapValidator(_valid_or_none)
"""Annotates a part of a response that is None if it is absent or impossible."""


def describe_refused(explanation: str | None) -> str:
    """Return ": " and what a service says about its refusal; "" if it says nothing."""
    if not explanation:
        return ""
    return f": {shorten(explanation).rstrip('.')}"


def parse_body(shape: type[M], body: bytes, *, service: ConfiguredProvider, label: str) -> M:
    try:
        return shape.model_validate_json(body)
    except ValidationError as exc:
        raise unexpected_response(service, label, describe_problems(exc)) from None


MILLION = 1_000_000

PRICE_LISTS: Mapping[ProviderKind, str] = {
    "anthropic": "anthropic",
    "bedrock": "aws",
    "vertex": "google",
    "azure": "azure",
}
"""Ids of vendors in genai-prices. That of an OpenAI-compatible service is found by its address."""

MANY = Usage("", input_tokens=MILLION, output_tokens=MILLION)
"""A call by which models are compared."""

UNKNOWN = (0.0, 0.0)


def with_price(
    usage: Usage, claude: ClaudeSettings, *, requested_model: str | None = None
) -> Usage:
    """Return the usage with its cost. `usage.model` and `asked` are named as by
    `ClaudeSettings.name_model`.

    If the price of `usage.model` is unknown, that of the model that was `asked` counts, or else
    that of the dearest model among those of the settings and Claude's largest.
    """
    named = map(claude.find_model, (usage.model, requested_model or usage.model))
    cost = next(filter(None, (find_cost_usd(usage, *candidate) for candidate in named)), None)
    if cost is None:
        largest = ProviderSettings(api_key=claude.api_key, model=OPUS)
        providers = claude.providers.values()
        others = [(candidate, candidate.model) for candidate in (largest, *providers)]
        others += [(candidate, candidate.default_model(is_review=True)) for candidate in providers]
        dearest = max(others, key=lambda candidate: find_cost_usd(MANY, *candidate) or UNKNOWN)
        cost = find_cost_usd(usage, *dearest) or UNKNOWN
    return replace(usage, cost_usd=cost[0], output_usd=cost[1])


def find_cost_usd(
    usage: Usage, provider: ProviderSettings, model: str
) -> tuple[float, float] | None:
    """Return the cost in US dollars and the output's part of it, or None if the price of the model
    is unknown.

    The price of some models depends on the number of all input tokens, including the cached ones.
    """
    price = provider.price
    if price is not None:
        output = usage.output_tokens * price.output
        return (usage.all_input_tokens * price.input + output) / MILLION, output / MILLION
    counted = genai_prices.Usage(
        input_tokens=usage.all_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        output_tokens=usage.output_tokens,
    )
    vendor = PRICE_LISTS.get(provider.kind)
    try:
        if vendor is None:
            calculated = genai_prices.calc_price(counted, model, provider_api_url=provider.base_url)
        else:
            calculated = genai_prices.calc_price(counted, model, provider_id=vendor)
    except LookupError:
        return None
    return float(calculated.total_price), float(calculated.output_price)
