"""Models of the settings file: every key with its meaning, unit, default and bounds.

`python -m tests.settings.make_reference` writes the `description` of every field to
docs/settings.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, PrivateAttr

from hls_handler import shipped
from hls_handler.analysis import Category, Severity
from hls_handler.problems import Kind, Sentence
from hls_handler.settings.app_key import AppKey
from hls_handler.settings.values import (
    AppPrivateKey,
    Assessed,
    Bots,
    Confidence,
    Credential,
    DatabaseUrl,
    EventKey,
    Expected,
    FallbackEventKey,
    Folders,
    GithubUrl,
    HeaderName,
    Hours,
    HttpUrl,
    Identifier,
    Integer,
    IssueNumber,
    LabelGlob,
    Language,
    Layout,
    Length,
    Network,
    Number,
    PathGlob,
    PromptUse,
    ProviderName,
    RegionName,
    RepositoryName,
    ReviewersMode,
    Section,
    ServerUrl,
    SharedSecret,
    SharedSecrets,
    SilencedId,
    Summary,
    TitleMode,
    TitleTypes,
    Tokens,
    Tone,
    UrlPath,
    Usd,
    UserGlob,
    VariableName,
    VariableValue,
    When,
    conflict,
    is_loopback,
    is_unencrypted,
)
from hls_handler.settings.yaml_parser import Sources

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


OTHER_WEBHOOK_PATH = "/webhooks/github"
"""Path that webhooks of older programs are sent to; HLS receives them there, too."""


class TrustedProxy(Section):
    networks: tuple[Network, ...] = Field(
        min_length=1,
        description="networks of the proxy: the header of any other client does not count",
    )
    user_header: HeaderName = Field(
        description=(
            "header with the login; the proxy must set it in each request, or remove the client's"
        )
    )


class Server(Section):
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: Integer = Field(
        8000, ge=0, le=65535, description="TCP port; 0 takes a free one and prints it"
    )
    public_url: HttpUrl | None = Field(
        None,
        description="address of the console, if a proxy with TLS is in front of it",
    )
    webhook_path: UrlPath = Field("/webhook", description="path that GitHub posts to")
    api_key: SharedSecret | None = Field(
        None,
        description=(
            "key of the console and, in X-API-Key, of the API, /stats and the full /health;"
            " at least 16 bytes"
        ),
    )
    trusted_proxy: TrustedProxy | None = Field(
        None,
        description=(
            "proxy that signs people in, and names them in a header; beside api_key, or in place"
            " of it"
        ),
    )
    viewers: tuple[UserGlob, ...] = Field(
        (), description="globs of people whom the proxy signs in, and who may only read"
    )
    max_body_bytes: Integer = Field(
        25_000_000,
        ge=1024,
        le=100_000_000,
        description="largest webhook body; a larger one is answered 413",
    )
    sync_timeout_s: Number = Field(
        8.0,
        gt=0,
        le=9.5,
        description="longest wait for the outcome when features.async_processing is false",
    )
    expect_webhook_within_h: Hours | None = Field(
        None,
        description="longest time without any webhook before /health is degraded; unset: no limit",
    )

    @property
    def webhook_paths(self) -> tuple[str, ...]:
        """The paths that receive webhooks: `webhook_path`, and the one of older programs, each also
        with a slash at its end.
        """
        paths = [path.rstrip("/") for path in (self.webhook_path, OTHER_WEBHOOK_PATH)]
        with_slash = [f"{path}/" for path in paths]
        return tuple(dict.fromkeys((self.webhook_path, *filter(None, paths), *with_slash)))

    @property
    def has_sign_in(self) -> bool:
        return self.api_key is not None or self.trusted_proxy is not None

    def find_conflicts(self) -> Iterator[tuple[str, Sentence]]:
        if self.viewers and self.trusted_proxy is None:
            sentence = "needs server.trusted_proxy, which is not set; remove the key, or set both"
            yield "viewers", conflict(sentence)

    def is_viewer(self, user: str) -> bool:
        return any(_login_pattern(glob).fullmatch(user.lower()) for glob in self.viewers)


def has_package(name: str) -> bool:
    parent = name.partition(".")[0]  # of which `find_spec` imports a part
    return find_spec(parent) is not None and find_spec(name) is not None


def describe_missing_packages(name: str) -> Sentence:
    """Name the command for a clone. In a package index, the project's name may be another's."""
    missing = f"needs the packages of requirements-{name}.txt, which are not installed"
    advice = f"run make .venv/ready-{name} in the clone"
    return Sentence(f"{missing}; {advice}", Kind.MISSING_PACKAGE)


def _exactly_one(*names: str) -> dict[str, JsonValue]:
    return {"oneOf": [{"required": [name]} for name in names]}


class GithubApp(Section):
    id: Identifier = Field(description="number of the GitHub App, on the App's page")
    private_key: AppPrivateKey = Field(
        description="the App's private key in PEM form; line breaks may be written as \\n"
    )

    @property
    def rsa_key(self) -> RSAPrivateKey:
        assert isinstance(self.private_key, AppKey)
        return self.private_key.rsa


class Github(Section):
    """Exactly one of `token`, `tokens` and `app` is set."""

    model_config = ConfigDict(json_schema_extra=_exactly_one("app", "token", "tokens"))

    app: GithubApp | None = Field(None, description="GitHub App as which HLS reads and writes")
    token: Credential | None = Field(
        None, description="token that reads and writes as HLS's account; in place of app"
    )
    tokens: Tokens | None = Field(
        None,
        description=(
            "in place of token: the first is used; the next ones take over while GitHub rejects it"
            " or its limit is used up"
        ),
    )
    webhook_secret: SharedSecrets = Field(
        description="secret of the webhook, at least 16 bytes; a list while rotating"
    )
    base_url: GithubUrl = Field("https://api.github.com", description="address of GitHub's API")
    min_seconds_between_writes: Number = Field(
        1.0, ge=0, le=60, description="pause between two writes to GitHub, over all workers"
    )

    def find_conflicts(self) -> Iterator[tuple[str, Sentence]]:
        names = ("app", "token", "tokens")
        present = [f"github.{name}" for name in names if getattr(self, name) is not None]
        if len(present) != 1:
            which = "none is set"
            if present:
                which = f"{' and '.join(present)} are set"
            needed = "set exactly one of github.app, github.token and github.tokens"
            yield "", conflict(f"{needed}; {which}")

    @property
    def access_tokens(self) -> tuple[str, ...]:
        """The tokens, the preferred one first; () with a GitHub App."""
        if self.token:
            return (self.token.get_secret_value(),)
        return tuple(token.get_secret_value() for token in self.tokens or ())

    @property
    def credential_key(self) -> str:
        """The key of the credential in use: "github.app", "github.tokens" or "github.token"."""
        if self.app:
            return "github.app"
        if self.tokens:
            return "github.tokens"
        return "github.token"


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
    input: Number = Field(ge=0, le=10_000, description="US dollars for a million tokens of prompts")
    output: Number = Field(
        ge=0, le=10_000, description="US dollars for a million tokens of replies"
    )


class Provider(Section):
    """A service that answers prompts."""

    kind: ProviderKind = Field("anthropic", description="API of the service; see docs/providers.md")
    name: ProviderName = Field(
        default_factory=lambda section: section.get("kind", ""),
        description=(
            "unique name in reports and in model: NAME/MODEL of prompts; by default the kind"
        ),
        json_schema_extra={"default": "anthropic"},
    )
    api_key: Credential = Field(
        description=(
            "key of the service; with access_key_id the secret key, for vertex the key file in one"
            " line"
        )
    )
    model: str = Field(
        "claude-haiku-5-5", min_length=1, description="model for prompts that name none"
    )
    review_model: str | None = Field(
        None, min_length=1, description="model for reviews of pull requests; unset: that of model"
    )
    region: RegionName | None = Field(None, description="region of bedrock or vertex")
    project: str | None = Field(None, min_length=1, description="Google Cloud project of vertex")
    access_key_id: str | None = Field(
        None,
        min_length=1,
        description="AWS access key of bedrock; unset: api_key is a Bedrock API key",
    )
    api_version: str = Field("2024-10-21", min_length=1, description="API version of azure")
    base_url: HttpUrl = Field(
        default_factory=_default_url,
        description="address of the API, by default the vendor's",
        json_schema_extra={"default": ANTHROPIC_URL},
    )
    structured_output: bool = Field(
        True,
        description=(
            "let the service enforce the schema of replies; false: the prompt asks for JSON"
        ),
    )
    price: Price | None = Field(
        None, description="price of the service's models, in place of the list price"
    )

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


class Claude(Provider):
    max_tokens: Integer = Field(
        4000, ge=256, le=64000, description="longest reply, in tokens, for prompts that name none"
    )
    requests_per_second: Number = Field(
        2.0, gt=0, le=1000, description="limit on the rate of calls, over all workers"
    )
    calls_per_hour: Integer = Field(
        200, ge=1, le=100_000, description="hard limit; when it is reached, deliveries wait"
    )
    # The longest reply that a shipped prompt allows has 8,000 tokens: at 20 tokens a second, 400 s.
    timeout_s: Number = Field(
        400.0, gt=0, le=3600, description="longest time for one reply, from question to last byte"
    )
    input_tokens: Integer = Field(
        30_000,
        ge=2_000,
        le=900_000,
        description="budget of one prompt's patches and context, in estimated tokens",
    )
    cache_ttl_h: Number = Field(
        168.0,
        ge=0,
        le=8760,
        description="how long a reply is used again for the same question; 0: never",
    )
    fallbacks: tuple[Provider, ...] = Field(
        (), description="other services that are asked in this order while those before fail"
    )

    def find_conflicts(self) -> Iterator[tuple[str, Sentence]]:
        yield from super().find_conflicts()
        keys: dict[str, str] = {}
        for key, provider in self.providers.items():
            first = keys.setdefault(provider.name, key)
            if first != key:
                sentence = f"{provider.name} is already the name of {first}; choose another one"
                yield f"{key.removeprefix('claude.')}.name", conflict(sentence)

    @property
    def providers(self) -> Mapping[str, Provider]:
        """All providers by key path, the first one first: {"claude": ..., "claude.fallbacks[0]":
        ...}.
        """
        return {
            "claude": self,
            **{f"claude.fallbacks[{n}]": one for n, one in enumerate(self.fallbacks)},
        }

    def find_key(self, provider: Provider) -> str:
        """Return the key path of one of the providers."""
        return next(key for key, one in self.providers.items() if one is provider)

    def title_of(self, provider: Provider) -> str:
        """Return the provider as messages name it: "Claude", or its name."""
        return "Claude" if provider is self and self.kind == "anthropic" else provider.name

    def find_model(self, name: str | None, *, is_review: bool = False) -> tuple[Provider, str]:
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

    def name_model(self, provider: Provider, model: str) -> str:
        """Return "NAME/MODEL" if there are fallbacks, else the model."""
        return f"{provider.name}/{model}" if self.fallbacks else model


class Storage(Section):
    url: DatabaseUrl = Field(
        "sqlite:///data/hls.db",
        repr=False,  # may contain the database's password
        description=(
            "sqlite:///relative/path, sqlite:////absolute/path or"
            " postgresql+psycopg://user:password@host/name"
        ),
    )
    keep_days: Integer = Field(
        90,
        ge=31,
        le=3650,
        description="how long finished deliveries are kept; counters are kept forever",
    )
    body_days: Integer = Field(
        14,
        ge=1,
        le=3650,
        description="how long the bodies of finished deliveries are kept as received",
    )


class Budget(Section):
    day_usd: Usd | None = Field(None, description="most that calls of one day (UTC) may cost")
    month_usd: Usd | None = Field(None, description="most that calls of one month (UTC) may cost")


class RepositoryBudget(Budget):
    name: RepositoryName = Field(
        description="owner/repo, or a glob, whose repositories share the budget"
    )


class Budgets(Section):
    total: Budget = Field(default_factory=Budget, description="for everything")
    repositories: tuple[RepositoryBudget, ...] = Field(
        (), min_length=1, description="for repositories"
    )
    outsiders: Budget = Field(
        default_factory=Budget,
        description="for each account without write permission to the repository",
    )
    exceeded: Literal["wait", "ignore"] = Field(
        "wait",
        description="what a delivery does whose next call does not fit",
    )


DEFAULT_FOLDERS = (Path("prompts"), Path("shipped"))


class Prompts(Section):
    directory: Path | Folders = Field(
        DEFAULT_FOLDERS,
        description=(
            "folder of the prompt library, or shipped for that of HLS; of a list, each file is"
            " read from the first folder that has it"
        ),
    )
    use: Mapping[EventKey, PromptUse] = Field(
        default_factory=dict,
        description="which prompt an event uses, if several match, or none is wanted",
    )
    variables: Mapping[VariableName, VariableValue] = Field(
        default_factory=dict,
        description="values that templates read as config.NAME, for all repositories",
    )

    @property
    def folders(self) -> Mapping[str, Path]:
        """The folders by key path, in the order of the search: {"prompts.directory[0]":
        Path("own"), ...}.

        Of `DEFAULT_FOLDERS`, the first one need not exist.
        """
        if isinstance(self.directory, Path):
            return {"prompts.directory": _find_folder(self.directory)}
        folders = self.directory
        if folders == DEFAULT_FOLDERS and folders[0].absolute() == shipped.PROMPTS:  # in a checkout
            folders = folders[:1]
        return {
            f"prompts.directory[{index}]": _find_folder(folder)
            for index, folder in enumerate(folders)
        }


def _find_folder(folder: Path) -> Path:
    return shipped.PROMPTS if folder == Path("shipped") else folder


class Limits(Section):
    concurrency: Integer = Field(
        24, ge=1, le=200, description="deliveries processed at the same time, over all machines"
    )
    max_attempts: Integer = Field(
        4,
        ge=1,
        le=100,
        description="failures of a delivery's own before it becomes a dead letter",
    )
    retry_backoff_s: Number = Field(
        5.0, gt=0, le=300, description="first pause after a failure; doubled, at most 300 s"
    )
    give_up_after_h: Number = Field(
        24.0,
        gt=0,
        le=8760,
        description="how long deliveries are retried during an outage of GitHub or Claude",
    )
    shutdown_s: Number = Field(
        20.0, ge=0, le=600, description="time for running steps to finish after SIGTERM"
    )
    settle_s: Number = Field(
        5.0,
        ge=0,
        le=600,
        description="how long a push to a pull request waits for a newer one",
    )
    thread_runs_per_hour: Integer = Field(
        20,
        ge=1,
        le=10_000,
        description="analyses of one conversation in an hour; more are ignored, to stop loops",
    )


class Labels(Section):
    create: bool = Field(True, description="create HLS's labels in repositories that lack them")
    allow: tuple[LabelGlob, ...] = Field(("*",), description="globs of labels that may be set")
    deny: tuple[LabelGlob, ...] = Field(
        (), description="globs of labels that are never set, whatever a prompt says"
    )
    suggest: bool = Field(
        False,
        description="let Claude choose from the repository's own labels",
    )
    min_confidence: Confidence = Field(
        0.7, description="least confidence with which such a label is set"
    )
    issue_type: bool = Field(
        False, description="set the type of issues that have none, by kind: Bug, Feature or Task"
    )
    assess: tuple[Assessed, ...] = Field(
        ("issues",),
        description="what gets labels for priority and difficulty: issues, pull_requests",
    )


class Comments(Section):
    language: Language | None = Field(
        None, description="language that HLS writes in; unset: that of the conversation"
    )
    tone: Tone = Field(
        "neutral",
        description="neutral: to the point; friendly: patient and inviting; formal: reserved",
    )
    length: Length = Field(
        "normal",
        description=(
            "short: what is needed to act; normal: as prompts say; detailed: with reasons and steps"
        ),
    )
    summary: Summary = Field(
        "on_findings",
        description=(
            "on_findings: comments only if something was found or is missing; always: also with"
            " only a summary"
        ),
    )
    layout: Layout = Field(
        "list", description="list: findings one below the other; table: a table for each file"
    )
    files: bool = Field(
        False,
        description="ask for a sentence on each changed file, at most 30",
    )
    show_cost: bool = Field(
        False, description="show what calls to Claude cost in comments and checks"
    )
    agent_prompt: bool = Field(
        False,
        description=(
            "add to the summary of a review its open findings as a prompt for a coding agent"
        ),
    )


class RepositoryComments(Comments):
    """The `comments` settings of an entry of `repositories`, and those that apply to one
    repository.
    """

    post_to: Mapping[FallbackEventKey, IssueNumber] = Field(
        default_factory=dict,
        description=(
            "issue that receives comments about an event without a conversation, by event"
        ),
    )


class EffectiveLabels(Labels):
    """The `labels` settings of one repository. HLS sets only labels that match all of its lists of
    allowed ones.
    """

    repository_allow: tuple[str, ...] = ("*",)  # `labels.allow` of `.github/hls.yaml`
    repository_allow_source: str = (
        ""  # ".github/hls.yaml:3 (labels.allow)"; "" if the repository does not set it
    )
    organization_allow: tuple[str, ...] = ("*",)  # the same of the organisation's file
    organization_allow_source: str = ""


class Findings(Section):
    min_severity: Severity = Field("low", description="least severe finding that a comment shows")
    min_confidence: Confidence = Field(
        0.0, description="least certain finding that a comment shows"
    )


class Review(Section):
    categories: tuple[Category, ...] = Field(
        ("bugs", "security", "performance"),
        min_length=1,
        description=(
            "what findings are about: bugs, security, performance, style; Claude is asked for these"
        ),
    )
    when: When = Field(
        "push",
        description="what is reviewed unasked: each push, what is opened, nothing, or a label's",
    )
    max_inline: Integer = Field(
        5, ge=0, le=50, description="most comments of one review on lines of a pull request"
    )
    verify: bool = Field(
        True,
        description="take a second look at new findings that would fail the check or are unsure",
    )
    guidance: bool = Field(
        True, description="show Claude .github/hls.md and AGENTS.md of the base branch"
    )
    merge_state: bool = Field(
        False, description="say in the comment what prevents the merge, as GitHub says"
    )
    context_tokens: Integer = Field(
        6_000,
        ge=0,
        le=20_000,
        description="most tokens of lines around hunks and other places of one call; 0: none",
    )
    max_usd: Usd = Field(
        2.0, description="most that calls for one event of a pull request may cost"
    )
    max_usd_per_pull_request: Usd = Field(
        10.0,
        description="most that calls for all events of one pull request may cost",
    )
    check: bool = Field(
        True,
        description="show a check on pull requests: a check run, or with a token a status",
    )
    incomplete: Literal["neutral", "failure"] = Field(
        "neutral",
        description=(
            "conclusion of the check if a file was not reviewed as a whole, or a finding not proved"
        ),
    )
    fail_on: Severity | None = Field(
        None,
        description="least severe open finding that makes the check fail; unset: findings never do",
    )


class PullRequests(Section):
    title: TitleMode = Field(
        False,
        description=(
            "check: set the check HLS title, which needs a conventional title; suggest: one in"
            " reviews"
        ),
    )
    title_types: TitleTypes = Field(
        (
            "feat",
            "fix",
            "docs",
            "style",
            "refactor",
            "perf",
            "test",
            "build",
            "ci",
            "chore",
            "revert",
        ),
        description="types of conventional titles, at most 20",
    )
    reviewers: ReviewersMode = Field(
        False, description="suggest: name reviewers; request: also request their reviews"
    )


class RepositoryRetrieval(Section):
    """The keys of `retrieval` that an entry of `repositories` can override."""

    enabled: bool = Field(
        True,
        description="answer questions from the documents of the default branch",
    )


class Qdrant(Section):
    """Exactly one of `url` and `path` is set."""

    model_config = ConfigDict(json_schema_extra=_exactly_one("url", "path"))

    url: ServerUrl | None = Field(
        None, description="address of a Qdrant server; port 6333 if it names none"
    )
    path: Path | None = Field(
        None, description="folder for the vectors, in place of a server; for one process"
    )
    api_key: Credential | None = Field(None, description="key of the server")

    def find_conflicts(self) -> Iterator[tuple[str, Sentence]]:
        if self.url is None and self.path is None:
            yield "", conflict("set exactly one of url and path; none is set")
        if self.url is not None and self.path is not None:
            yield "", conflict("set exactly one of url and path; both are set")
        if not all(map(has_package, ("qdrant_client", "openai"))):
            yield "", describe_missing_packages("qdrant")
        if self.api_key is not None and is_unencrypted(self.url):
            yield "url", _describe_unencrypted("retrieval.qdrant.api_key")


class Embeddings(Section):
    base_url: ServerUrl = Field(
        description="address of an OpenAI-compatible service, which gets the documents' text"
    )
    api_key: Credential | None = Field(None, description="key of the service")
    model: Annotated[str, Expected("a name without spaces")] = Field(
        pattern="^[!-~]{1,80}$", description="its model; another one embeds all documents again"
    )

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

    qdrant: Qdrant | None = Field(
        None, description="database of vectors, which finds sections by their meaning"
    )
    embeddings: Embeddings | None = Field(None, description="service that computes the vectors")

    def find_conflicts(self) -> Iterator[tuple[str, Sentence]]:
        for name, other in (("qdrant", "embeddings"), ("embeddings", "qdrant")):
            if getattr(self, name) is not None and getattr(self, other) is None:
                sentence = f"needs retrieval.{other}, which is not set; set both or none"
                yield name, conflict(sentence)


class Similar(Section):
    enabled: bool = Field(
        False,
        description="name an older open issue that may be about the same as a new one",
    )


class OracleService(Section):
    url: ServerUrl | None = Field(
        None, description="service that /test-oracle asks in place of Claude"
    )


class RepositoryFeatures(Section):
    """The features that an entry of `repositories` can override: the others concern the whole
    process.
    """

    auto_labeling: bool = Field(True, description="set labels")
    auto_commenting: bool = Field(True, description="write comments")
    dry_run: bool = Field(
        False, description="do everything except write to GitHub; what would be written is stored"
    )
    drafts: bool = Field(False, description="process draft pull requests")
    bots: Bots = Field(
        False, description="process what other bots open: all, none, or those of a list of globs"
    )
    cherry_pick: bool = Field(
        False, description="answer the command /cherry-pick BRANCH; it needs the mirror"
    )
    test_oracle: bool = Field(False, description="answer the command /test-oracle")
    repository_settings: bool = Field(
        True, description="apply .github/hls.yaml of the repository and hls.yaml of ORG/.github"
    )

    def includes_bot(self, login: str) -> bool:
        """Return whether `bots` includes a bot; a glob matches its login with and without "[bot]",
        in any case.
        """
        if isinstance(self.bots, bool):
            return self.bots
        names = (login.lower(), login.lower().removesuffix("[bot]"))
        return any(_login_pattern(glob).fullmatch(name) for glob in self.bots for name in names)


class Features(RepositoryFeatures):
    signature_validation: bool = Field(
        True, description="check GitHub's signature; false only on a loopback host"
    )
    async_processing: bool = Field(True, description="respond before the delivery is processed")


@cache
def _login_pattern(glob: str) -> re.Pattern[str]:
    """Compile a glob in which the brackets of "[bot]" have no meaning."""
    return re.compile(re.escape(glob.lower()).replace(r"\*", ".*").replace(r"\?", "."))


class RepositoryPrompts(Section):
    use: Mapping[EventKey, PromptUse] = Field(
        default_factory=dict, description="overrides prompts.use, event by event"
    )


class RepositoryPaths(Section):
    ignore: tuple[PathGlob, ...] = Field(
        (),
        description="globs of files in pull requests that Claude is not shown",
    )


def _drop_nulls(section: object) -> object:
    if not isinstance(section, dict):
        return section
    return {key: value for key, value in section.items() if value is not None}


_WithoutNulls = BeforeValidator(_drop_nulls)  # a key without a value overrides nothing


class Repository(Section):
    """An entry of `repositories`. The keys that are set in one of its sections, such as `labels`,
    override those of the section with the same name.
    """

    name: RepositoryName = Field(
        description="owner/repo, or a glob such as owner/*; the most specific entry wins"
    )
    enabled: bool = Field(
        True, description="false: events of the repository are ignored, with that reason"
    )
    events: tuple[EventKey, ...] = Field(
        ("issues", "pull_request", "pull_request_review", "workflow_run"),
        min_length=1,
        description="events to process, with or without action: issues, issues.opened",
    )
    expect_webhook_within_h: Hours | None = Field(
        None, description="the same for webhooks of the repositories that this entry matches"
    )
    webhook_secret: SharedSecrets | None = Field(
        None, description="secret of this repository's webhook; overrides github.webhook_secret"
    )
    labels: Annotated[Labels, _WithoutNulls] = Field(
        default_factory=Labels, description="overrides of labels"
    )
    comments: Annotated[RepositoryComments, _WithoutNulls] = Field(
        default_factory=RepositoryComments, description="overrides of comments"
    )
    features: Annotated[RepositoryFeatures, _WithoutNulls] = Field(
        default_factory=RepositoryFeatures, description="overrides of features"
    )
    prompts: RepositoryPrompts = Field(
        default_factory=RepositoryPrompts, description="overrides of prompts.use"
    )
    paths: RepositoryPaths = Field(
        default_factory=RepositoryPaths, description="files that are left out"
    )
    variables: Mapping[VariableName, VariableValue] = Field(
        default_factory=dict,
        description="values of this repository; override prompts.variables, name by name",
    )
    findings: Annotated[Findings, _WithoutNulls] = Field(
        default_factory=Findings, description="overrides of findings"
    )
    review: Annotated[Review, _WithoutNulls] = Field(
        default_factory=Review, description="overrides of review"
    )
    pull_requests: Annotated[PullRequests, _WithoutNulls] = Field(
        default_factory=PullRequests, description="overrides of pull_requests"
    )
    retrieval: Annotated[RepositoryRetrieval, _WithoutNulls] = Field(
        default_factory=RepositoryRetrieval, description="overrides of retrieval"
    )
    similar: Annotated[Similar, _WithoutNulls] = Field(
        default_factory=Similar, description="overrides of similar"
    )


class CatchUp(Section):
    enabled: bool = Field(
        True,
        description="read webhooks that GitHub could not deliver from its API",
    )
    hook_id: Identifier | None = Field(
        None,
        description=(
            "id of the webhook to read, if several have this service's path; unset: the only one"
        ),
    )


class Mirror(Section):
    enabled: bool = Field(
        True, description="fetch the reviewed commits by git, to read files that are not changed"
    )
    directory: Path = Field(
        Path("data/mirror"), description="folder of the mirrors; it may be deleted at any time"
    )
    max_mb: Integer = Field(500, ge=1, le=100_000, description="largest mirror of one repository")
    min_free_mb: Integer = Field(
        1_000,
        ge=0,
        le=10_000_000,
        description="room to leave on the disk; below it nothing is fetched",
    )
    timeout_s: Number = Field(120.0, gt=0, le=3600, description="longest time for one fetch")


class Logging(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="least severe level that is logged"
    )
    format: Literal["json", "text"] | None = Field(
        None,
        description=(
            "json: one object per line; text: for people; unset: text on a terminal, json elsewhere"
        ),
    )


class Metrics(Section):
    authors: bool = Field(
        False,
        description="store authors, and show the figures of each author",
    )


class Check(Section):
    ignore: tuple[SilencedId, ...] = Field(
        (), description="ids of warnings and notes that `hls check` does not show"
    )


class Settings(Section):
    """The whole settings file."""

    server: Server = Field(default_factory=Server)
    github: Github
    claude: Claude
    repositories: tuple[Repository, ...] = Field(min_length=1)
    budgets: Budgets = Field(default_factory=Budgets)
    storage: Storage = Field(default_factory=Storage)
    prompts: Prompts = Field(default_factory=Prompts)
    limits: Limits = Field(default_factory=Limits)
    labels: Labels = Field(default_factory=Labels)
    comments: Comments = Field(default_factory=Comments)
    findings: Findings = Field(default_factory=Findings)
    review: Review = Field(default_factory=Review)
    pull_requests: PullRequests = Field(default_factory=PullRequests)
    retrieval: Retrieval = Field(default_factory=Retrieval)
    similar: Similar = Field(default_factory=Similar)
    test_oracle: OracleService = Field(default_factory=OracleService)
    features: Features = Field(default_factory=Features)
    logging: Logging = Field(default_factory=Logging)
    catch_up: CatchUp = Field(default_factory=CatchUp)
    mirror: Mirror = Field(default_factory=Mirror)
    metrics: Metrics = Field(default_factory=Metrics)
    check: Check = Field(default_factory=Check)

    _sources: Sources = PrivateAttr(default_factory=lambda: Sources("settings"))
    _warnings: tuple[Sentence, ...] = PrivateAttr(default=())
    _unset: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _former_shadows: frozenset[str] = PrivateAttr(default=frozenset())

    def find_conflicts(self) -> Iterator[tuple[str, Sentence]]:
        host = self.server.host
        if not self.features.signature_validation and not is_loopback(host):
            allowed = "false is allowed on a loopback host only"
            sentence = f"{allowed}, and server.host is {host}; anyone could send events"
            yield "features.signature_validation", conflict(sentence)
        indexes: dict[str, int] = {}
        for index, entry in enumerate(self.repositories):
            first = indexes.setdefault(entry.name.lower(), index)
            if first != index:
                sentence = f"{entry.name} is already repositories[{first}]; remove one"
                yield f"repositories[{index}].name", conflict(sentence)

    @property
    def has_console(self) -> bool:
        """True if the console is on: with a sign-in, or for people on this machine if GitHub is the
        sandbox there.

        A proxy may forward requests of others exactly as a browser on this machine sends its own.
        """
        is_local = is_loopback(self.server.host) and self.server.public_url is None
        is_sandbox = is_loopback(urlsplit(self.github.base_url).hostname or "")
        return self.server.has_sign_in or (is_local and is_sandbox)

    @property
    def sources(self) -> Sources:
        return self._sources

    def with_repository_sources(self, *sources: Sources) -> Settings:
        """Return a copy with the line numbers of files in repositories, so that messages can name
        lines of them.
        """
        settings = self.model_copy()
        settings._sources = self._sources.add(*sources)
        return settings

    def shorten_paths(self, text: str) -> str:
        """Return a text that GitHub shows, without the folders above the settings file and above
        the prompt folders.
        """
        for above in self.folders_above:
            text = text.replace(above, "")
        return text

    @cached_property  # the receiver needs it for each ignored webhook
    def folders_above(self) -> tuple[str, ...]:
        """The folders above the settings file and above the prompt folders, the longest first:
        ("/srv/hls/", ...).
        """
        files = (
            Path(self.sources.file),
            *(folder.absolute() for folder in self.prompts.folders.values()),
        )
        return tuple(sorted({f"{file.parent}/" for file in files}, key=len, reverse=True))

    @property
    def warnings(self) -> tuple[Sentence, ...]:
        """One sentence for each key that is valid, but outdated, without effect or unsafe."""
        return self._warnings

    @property
    def former_shadows(self) -> frozenset[str]:
        """Names of prompts that removed entries of `prompts.use` ran as shadows. Their `on` has no
        effect: they must not begin to post.
        """
        return self._former_shadows

    @property
    def unset(self) -> Mapping[str, str]:
        """Key path -> why it has no value ("PORT is not set"), if the settings were loaded with
        `allow_unset`.
        """
        return self._unset


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
