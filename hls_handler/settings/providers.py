"""Models of the services besides GitHub: those that answer prompts, embeddings and vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from hls_handler.settings.problems import Kind, Sentence
from hls_handler.settings.sections import RepositoryRetrieval
from hls_handler.settings.values import (
    Credential,
    Expected,
    HttpUrl,
    Integer,
    Number,
    ProviderName,
    RegionName,
    Section,
    ServerUrl,
    conflict,
    is_unencrypted,
)


def has_package(name: str) -> bool:
    parent = name.partition(".")[0]  # of which `find_spec` imports a part
    return find_spec(parent) is not None and find_spec(name) is not None


def describe_missing_packages(name: str) -> Sentence:
    """In a package index, the project's name may be another's, so that it is not named."""
    missing = f"needs the packages of requirements-{name}.txt, which are not installed"
    advice = f"run make .venv/ready-{name} in the clone, or install HLS with this extra"
    return Sentence(f"{missing}; {advice}", Kind.MISSING_PACKAGE)


def exactly_one(*names: str) -> dict[str, JsonValue]:
    return {"oneOf": [{"required": [name]} for name in names]}


ProviderKind = Literal["anthropic", "bedrock", "vertex", "openai", "azure"]

PROVIDERS: Mapping[ProviderKind, tuple[str, tuple[str, ...]]] = {
    "anthropic": ("anthropic", ()),
    "bedrock": ("boto3", ("model", "region")),
    "vertex": ("google.auth", ("model", "project", "region")),
    "openai": ("openai", ("model",)),
    "azure": ("openai", ("base_url", "model")),
}

"""Kind -> (package that it needs, keys that it needs besides api_key)."""

KINDS_OF_KEYS = {
    "region": ("bedrock", "vertex"),
    "project": ("vertex",),
    "access_key_id": ("bedrock",),
    "api_version": ("azure",),
}

"""Key that only some kinds have -> these kinds."""

ANTHROPIC_URL = "https://api.anthropic.com"


def _default_url(section: Mapping[str, Any]) -> str:
    region = section.get("region")
    match section.get("kind"):
        case "bedrock":
            return f"https://bedrock-runtime.{region}.amazonaws.com"
        case "vertex":
            return f"https://{region}-aiplatform.googleapis.com/v1"
        case "openai":
            return "https://api.openai.com/v1"
    return ANTHROPIC_URL


class Price(Section):
    input: Number = Field(ge=0, le=10_000)
    """US dollars for a million tokens of prompts"""
    output: Number = Field(ge=0, le=10_000)
    """US dollars for a million tokens of replies"""


class ProviderSettings(Section):
    """A service that answers prompts."""

    kind: ProviderKind = "anthropic"
    """API of the service; see docs/providers.md"""
    name: ProviderName = Field(
        default_factory=lambda section: section.get("kind", ""),
        json_schema_extra={"default": "anthropic"},
    )
    """unique name in reports and in model: NAME/MODEL of prompts; by default the kind"""
    api_key: Credential
    """key of the service; with access_key_id the secret key, for vertex the key file in one line"""
    model: str = Field("claude-haiku-5-5", min_length=1)
    """model for prompts that name none"""
    review_model: str | None = Field(None, min_length=1)
    """model for reviews of pull requests; unset: that of model"""
    region: RegionName | None = None
    """region of bedrock or vertex"""
    project: str | None = Field(None, min_length=1)
    """Google Cloud project of vertex"""
    access_key_id: str | None = Field(None, min_length=1)
    """AWS access key of bedrock; unset: api_key is a Bedrock API key"""
    api_version: str = Field("2024-10-21", min_length=1)
    """API version of azure"""
    base_url: HttpUrl = Field(
        default_factory=_default_url, json_schema_extra={"default": ANTHROPIC_URL}
    )
    """address of the API, by default the vendor's"""
    structured_output: bool = True
    """let the service enforce the schema of replies; false: the prompt asks for JSON"""
    price: Price | None = None
    """price of the service's models, in place of the list price"""

    def find_conflicts(self) -> Iterator[tuple[str, Sentence]]:
        package, names = PROVIDERS[self.kind]
        for name in names:
            if name not in self.model_fields_set or getattr(self, name) is None:
                yield name, Sentence(f"is missing; {self.kind} needs it", Kind.MISSING_KEY)
        if not has_package(package):
            yield "kind", describe_missing_packages("providers")

    @property
    def is_claude_api(self) -> bool:
        """True for Claude's own API at its usual address."""
        return self.kind == "anthropic" and self.base_url == ANTHROPIC_URL

    def default_model(self, *, is_review: bool = False) -> str:
        """Return the model for prompts that name none; its successor if it is retired."""
        named = self.review_model if is_review else None
        return resolve_model(named or self.model)


class ClaudeSettings(ProviderSettings):
    max_tokens: Integer = Field(4000, ge=256, le=64000)
    """longest reply, in tokens, for prompts that name none"""
    requests_per_second: Number = Field(2.0, gt=0, le=1000)
    """limit on the rate of calls, over all workers"""
    calls_per_hour: Integer = Field(200, ge=1, le=100_000)
    """hard limit; when it is reached, deliveries wait"""
    # The longest reply that a shipped prompt allows has 8,000 tokens: at 20 tokens a second, 400 s.
    timeout_s: Number = Field(400.0, gt=0, le=3600)
    """longest time for one reply, from question to last byte"""
    input_tokens: Integer = Field(30_000, ge=2_000, le=900_000)
    """budget of one prompt's patches and context, in estimated tokens"""
    cache_ttl_h: Number = Field(168.0, ge=0, le=8760)
    """how long a reply is used again for the same question; 0: never"""
    fallbacks: tuple[ProviderSettings, ...] = ()
    """other services that are asked in this order while those before fail"""

    def find_conflicts(self) -> Iterator[tuple[str, Sentence]]:
        yield from super().find_conflicts()
        keys: dict[str, str] = {}
        for key, provider in self.providers.items():
            first = keys.setdefault(provider.name, key)
            if first != key:
                sentence = f"{provider.name} is already the name of {first}; choose another one"
                yield f"{key.removeprefix('claude.')}.name", conflict(sentence)

    @property
    def providers(self) -> Mapping[str, ProviderSettings]:
        """All providers by key path, the first one first: {"claude": ..., "claude.fallbacks[0]":
        ...}.
        """
        return {
            "claude": self,
            **{f"claude.fallbacks[{n}]": provider for n, provider in enumerate(self.fallbacks)},
        }

    def find_key(self, provider: ProviderSettings) -> str:
        """Return the key path of one of the providers."""
        return next(key for key, other in self.providers.items() if other is provider)

    def title_of(self, provider: ProviderSettings) -> str:
        """Return the provider as messages name it: "Claude", or its name."""
        return "Claude" if provider is self and self.kind == "anthropic" else provider.name

    def find_model(
        self, name: str | None, *, is_review: bool = False
    ) -> tuple[ProviderSettings, str]:
        """Return the provider and its model for "NAME/MODEL" or for a model of the first one.

        Without a name, it is the default of the first one. A prefix counts only if it is the name
        of a provider and there are fallbacks.
        """
        if not name:
            return self, self.default_model(is_review=is_review)
        prefix, slash, model = name.partition("/")
        for provider in self.providers.values():
            if self.fallbacks and slash and provider.name == prefix:
                return provider, resolve_model(model)
        return self, resolve_model(name)

    def name_model(self, provider: ProviderSettings, model: str) -> str:
        """Return "NAME/MODEL" if there are fallbacks, else the model."""
        return f"{provider.name}/{model}" if self.fallbacks else model


HAIKU = "claude-haiku-5-5"

SONNET = "claude-sonnet-5-5"

OPUS = "claude-opus-5-5"

RETIRED_MODELS: Mapping[str, tuple[str, str]] = {
    model: (retired_on, successor)
    for retired_on, successor, models in (
        ("2024-11-06", SONNET, "claude-1.0 claude-1.1 claude-1.2 claude-1.3 claude-1.3-100k"),
        (
            "2024-11-06",
            HAIKU,
            "claude-instant-1.0 claude-instant-1.1 claude-instant-1.1-100k claude-instant-1.2",
        ),
        ("2025-07-21", SONNET, "claude-2.0 claude-2.1 claude-3-sonnet-20240229"),
        (
            "2025-10-28",
            SONNET,
            "claude-3-5-sonnet-20240620 claude-3-5-sonnet-20241022 claude-3-5-sonnet-latest",
        ),
        ("2026-01-05", OPUS, "claude-3-opus-20240229 claude-3-opus-latest"),
        ("2026-02-19", SONNET, "claude-3-7-sonnet-20250219 claude-3-7-sonnet-latest"),
        ("2026-02-19", HAIKU, "claude-3-5-haiku-20241022 claude-3-5-haiku-latest"),
        ("2026-04-20", HAIKU, "claude-3-haiku-20240307"),
        ("2026-06-15", OPUS, "claude-opus-4-0 claude-opus-4-20250514"),
        ("2026-06-15", SONNET, "claude-sonnet-4-0 claude-sonnet-4-20250514"),
        ("2026-08-05", OPUS, "claude-opus-4-1 claude-opus-4-1-20250805"),
        ("2026-11-30", SONNET, "claude-sonnet-4-5 claude-sonnet-4-5-20250929"),
    )
    for model in models.split()
}

"""Model -> (retirement date, successor). The SDK's own table drops a model some time after its
retirement. https://platform.claude.com/docs/en/about-claude/model-deprecations
"""


def resolve_model(model: str) -> str:
    """Return the successor of a retired Claude model, and any other name unchanged."""
    _, successor = RETIRED_MODELS.get(model, ("", model))
    return successor


def describe_retirement(model: str) -> str | None:
    """Return a sentence with the retirement date and successor of a Claude model; None if it is not
    retired.
    """
    retired_on, successor = RETIRED_MODELS.get(model, ("", model))
    if not retired_on:
        return None
    return f"{model} was retired on {retired_on}; {successor} is used in its place"


class QdrantSettings(Section):
    """Exactly one of `url` and `path` is set."""

    model_config = ConfigDict(json_schema_extra=exactly_one("url", "path"))

    url: ServerUrl | None = None
    """address of a Qdrant server; port 6333 if it names none"""
    path: Path | None = None
    """folder for the vectors, in place of a server; for one process"""
    api_key: Credential | None = None
    """key of the server"""

    def find_conflicts(self) -> Iterator[tuple[str, Sentence]]:
        if self.url is None and self.path is None:
            yield "", conflict("set exactly one of url and path; none is set")
        if self.url is not None and self.path is not None:
            yield "", conflict("set exactly one of url and path; both are set")
        if not all(map(has_package, ("qdrant_client", "openai"))):
            yield "", describe_missing_packages("qdrant")
        if self.api_key is not None and is_unencrypted(self.url):
            yield "url", _describe_unencrypted("retrieval.qdrant.api_key")


class EmbeddingsSettings(Section):
    base_url: ServerUrl
    """address of an OpenAI-compatible service, which gets the documents' text"""
    api_key: Credential | None = None
    """key of the service"""
    model: Annotated[str, Expected("a name without spaces")] = Field(pattern="^[!-~]{1,80}$")
    """its model; another one embeds all documents again"""

    def find_conflicts(self) -> Iterator[tuple[str, Sentence]]:
        if self.api_key is not None and is_unencrypted(self.base_url):
            yield "base_url", _describe_unencrypted("retrieval.embeddings.api_key")


def _describe_unencrypted(key: str) -> Sentence:
    return conflict(f"http:// would send {key} unencrypted; use https:// or remove the key")


class Retrieval(RepositoryRetrieval):
    """`qdrant` and `embeddings` are both set or both unset."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"qdrant": ["embeddings"], "embeddings": ["qdrant"]}
        }
    )

    qdrant: QdrantSettings | None = None
    """database of vectors, which finds sections by their meaning"""
    embeddings: EmbeddingsSettings | None = None
    """service that computes the vectors"""

    def find_conflicts(self) -> Iterator[tuple[str, Sentence]]:
        for name, other in (("qdrant", "embeddings"), ("embeddings", "qdrant")):
            if getattr(self, name) is not None and getattr(self, other) is None:
                sentence = f"needs retrieval.{other}, which is not set; set both or none"
                yield name, conflict(sentence)
