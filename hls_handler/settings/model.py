"""The settings' keys: meaning, unit, default, bounds. `load` fills them from YAML; nothing else creates them.

Every field's `description` is what the settings reference in README.md says of the key (a test compares them).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from hls_handler.analysis import Severity

LANGUAGE = re.compile(r"\(?[^\W\d_]+\)?(?:[ -]\(?[^\W\d_]+\)?){0,3}")
"""Up to four words of letters, with single spaces or hyphens between, some in parentheses: "Chinese (Simplified)"."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a value looks like, in words, where its type and bounds do not say it."""

    words: str


def _without_last_slash(url: str) -> str:
    return url.rstrip("/")


def _no_boolean(value: object) -> object:
    """YAML's yes and no are booleans, and Python would take them for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number is expected")
    return value


def _only_a_name(language: str) -> str:
    """Nothing that reads as an instruction: it stands in the system message, and not only the operator may write it."""
    if not LANGUAGE.fullmatch(language):
        raise ValueError("a language's name is expected")
    return language


Whole = Annotated[int, BeforeValidator(_no_boolean)]
Number = Annotated[float, BeforeValidator(_no_boolean)]
HttpUrl = Annotated[
    str,
    Field(pattern=r"^https?://\S+$"),
    AfterValidator(_without_last_slash),
    Expected("an address that starts with https://"),
]
DatabaseUrl = Annotated[str, Expected("an address that starts with sqlite:/// or postgresql+psycopg://")]
UrlPath = Annotated[str, Field(pattern=r"^/[^\s?#]*$"), Expected("a path that starts with /")]
RepositoryName = Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$"), Expected("owner/repo or a glob such as owner/*")]
Language = Annotated[
    str,
    Field(max_length=40),
    AfterValidator(_only_a_name),
    Expected("a language's name: up to four words of letters, at most 40 characters"),
]
IssueNumber = Annotated[
    int, BeforeValidator(_no_boolean), Field(ge=1, le=2_147_483_647), Expected("the number of an issue")
]
Confidence = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, le=1), Expected("a number from 0 to 1")]
Silence = Annotated[
    float,
    BeforeValidator(_no_boolean),
    Field(gt=0, le=8760),
    Expected("a number of hours above 0, at most 8760"),
]
Tone = Literal["neutral", "friendly", "formal"]
Length = Literal["short", "normal", "detailed"]


class ShadowKeys(BaseModel):
    """A prompt that runs beside the event's own, and posts nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    prompt: str = Field(min_length=1, description="the name of a prompt")
    shadow: Literal[True] = Field(description="it runs beside the event's own prompt, and posts nothing")


def _as_a_whole(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """One problem at the event's key: an event has dots, so that nobody can tell where its own keys begin."""
    try:
        return validate(value)
    except ValidationError:
        raise ValueError("this says nothing of an event") from None


PromptUse = Annotated[
    str | Literal[False] | ShadowKeys,
    WrapValidator(_as_a_whole),
    Expected("the name of a prompt, false, or {prompt: NAME, shadow: true}"),
]


class Section(BaseModel):
    """A part of a settings file; also of a repository's own (`settings/repository.py`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _all_defaults(cls, value: object) -> object:
        """A section whose keys are all commented out is null in YAML, and means its defaults."""
        return {} if value is None else value


class Server(Section):
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: Whole = Field(8000, ge=0, le=65535, description="TCP port; 0 takes a free one and prints it")
    webhook_path: UrlPath = Field("/webhook", description="path that GitHub posts to")
    api_key: SecretStr | None = Field(
        None, description="key that /stats and the full /health need in X-API-Key, at least 16 bytes"
    )
    max_body_bytes: Whole = Field(25_000_000, ge=1024, le=100_000_000, description="largest webhook body; more is 413")
    max_connections: Whole = Field(
        500, ge=16, le=20_000, description="connections open at once; one more closes that which is silent longest"
    )
    header_timeout_s: Number = Field(10.0, gt=0, le=60, description="time for a request's headers to arrive")
    body_timeout_s: Number = Field(10.0, gt=0, le=60, description="time for a body to arrive; more is 408")
    sync_timeout_s: Number = Field(
        8.0, gt=0, le=9.5, description="longest wait for the outcome when features.async_processing is false"
    )
    expect_webhook_within_h: Silence | None = Field(
        None, description="longest time without any webhook that is no reason to worry; unset: any time"
    )


class Github(Section):
    token: SecretStr = Field(description="token that reads and writes as HLS's account")
    webhook_secret: SecretStr | tuple[SecretStr, ...] = Field(
        description="secret of the webhook, at least 16 bytes; a list while rotating"
    )
    base_url: HttpUrl = Field("https://api.github.com", description="address of GitHub's API")
    min_seconds_between_writes: Number = Field(
        1.0, ge=0, le=60, description="pause between two writes to GitHub, over all workers"
    )
    slowest_write_s: Number = Field(
        60.0,
        ge=0,
        le=600,
        description="how long a comment may still appear that had no answer; none is made before",
    )


class Claude(Section):
    api_key: SecretStr = Field(description="key of the Claude API")
    model: str = Field("claude-haiku-5-5", min_length=1, description="model for prompts that name none")
    max_tokens: Whole = Field(
        4000, ge=256, le=64000, description="longest reply, in tokens, for prompts that name none"
    )
    temperature: Number | None = Field(None, description="accepted for old files; has no effect")
    base_url: HttpUrl = Field("https://api.anthropic.com", description="address of Claude's API")
    requests_per_second: Number = Field(1.0, gt=0, le=1000, description="pace of calls, over all workers")
    calls_per_hour: Whole = Field(200, ge=1, le=100_000, description="hard brake: over it, deliveries wait")
    timeout_s: Number = Field(120.0, gt=0, le=600, description="longest wait for one reply")
    input_tokens: Whole = Field(
        30_000, ge=2_000, le=900_000, description="budget of one prompt's patches, in estimated tokens"
    )


class Storage(Section):
    url: DatabaseUrl = Field(
        "sqlite:///data/hls.db",
        repr=False,  # may hold the database's password
        description="sqlite:///relative/path, sqlite:////absolute/path or postgresql+psycopg://user:password@host/name",
    )
    keep_days: Whole = Field(
        90, ge=31, le=3650, description="how long deliveries are kept after they were finished; counters stay"
    )
    body_days: Whole = Field(
        14, ge=1, le=3650, description="how long the bodies of finished deliveries are kept as received"
    )


class Prompts(Section):
    directory: Path | tuple[Path, ...] = Field(
        Path("prompts"),
        description="folder of the prompt library; of a list, the first folder that has a file gives it",
    )
    use: Mapping[str, PromptUse] = Field(
        default_factory=dict,
        description="which prompt an event uses, where several could, none should, or one is to run in the shadow",
    )

    @property
    def folders(self) -> Mapping[str, Path]:
        """The folders of the library by their key paths, the one that is looked into first at the head."""
        if isinstance(self.directory, tuple):
            return {f"prompts.directory[{index}]": folder for index, folder in enumerate(self.directory)}
        return {"prompts.directory": self.directory}


class Limits(Section):
    concurrency: Whole = Field(4, ge=1, le=200, description="deliveries worked on at the same time, over all machines")
    max_attempts: Whole = Field(4, ge=1, le=100, description="failures of a delivery's own before it is dead")
    max_crashes: Whole = Field(10, ge=1, le=1000, description="leases that end without progress before it is dead")
    retry_backoff_s: Number = Field(
        5.0, gt=0, le=300, description="first pause after a failure; doubled, at most 300 s"
    )
    give_up_after_h: Number = Field(
        24.0, gt=0, le=8760, description="how long an outage of GitHub or Claude is waited out"
    )
    replay_window_h: Number = Field(
        72.0, ge=0, le=8760, description="how long a body is known again under another delivery id"
    )
    shutdown_s: Number = Field(20.0, ge=0, le=600, description="time for running steps to end at SIGTERM")
    lease_s: Number = Field(30.0, ge=5, le=3600, description="how long a silent worker keeps its delivery")
    settle_s: Number = Field(
        5.0, ge=0, le=600, description="how long a push to a pull request waits for a newer one, which takes its place"
    )
    thread_runs_per_hour: Whole = Field(
        20,
        ge=1,
        le=10_000,
        description="analyses of one issue or pull request within an hour; more are ignored (loops)",
    )


class Labels(Section):
    create: bool = Field(True, description="create our labels where the repository lacks them")
    allow: tuple[str, ...] = Field(("*",), description="globs of labels that may be set")


class Comments(Section):
    language: Language | None = Field(None, description="language that HLS writes in; unset: that of the thread")
    tone: Tone = Field("neutral", description="neutral: to the point; friendly: patient and inviting; formal: reserved")
    length: Length = Field(
        "normal", description="short: what is needed to act; normal: as prompts say; detailed: with reasons and steps"
    )


class CommentsOfARepository(Comments):
    """What holds for one repository."""

    post_to: Mapping[str, IssueNumber] = Field(default_factory=dict)


class LabelsOfARepository(Labels):
    """What holds for one repository: a label has to fit both lists, if there are two."""

    narrowed_to: tuple[str, ...] = ("*",)
    narrowed_at: str = ""  # ".github/hls.yaml:3 (labels.allow)"


class Findings(Section):
    min_severity: Severity = Field("low", description="least severe finding that a comment shows")
    min_confidence: Confidence = Field(0.0, description="least certain finding that a comment shows")


class Features(Section):
    signature_validation: bool = Field(True, description="check GitHub's signature; false only on a loopback host")
    async_processing: bool = Field(True, description="answer before the work is done")
    auto_labeling: bool = Field(True, description="set labels")
    auto_commenting: bool = Field(True, description="write comments")
    dry_run: bool = Field(False, description="do everything but write to GitHub; what would be written is kept")
    drafts: bool = Field(False, description="work on draft pull requests")
    bots: bool = Field(False, description="work on what other bots open")
    repository_settings: bool = Field(True, description="heed .github/hls.yaml of the repository's default branch")


class RepositoryLabels(Section):
    create: bool | None = Field(None, description="in place of labels.create")
    allow: tuple[str, ...] | None = Field(None, description="in place of labels.allow")


class RepositoryComments(Section):
    language: Language | None = Field(None, description="in place of comments.language")
    tone: Tone | None = Field(None, description="in place of comments.tone")
    length: Length | None = Field(None, description="in place of comments.length")
    post_to: Mapping[str, IssueNumber] = Field(
        default_factory=dict,
        description="issue that gets the comment about an event that has no thread of its own: event to number",
    )


class RepositoryFeatures(Section):
    """Overrides; the two that are about the process (signature_validation, async_processing) are global only."""

    auto_labeling: bool | None = Field(None, description="in place of features.auto_labeling")
    auto_commenting: bool | None = Field(None, description="in place of features.auto_commenting")
    dry_run: bool | None = Field(None, description="in place of features.dry_run")
    drafts: bool | None = Field(None, description="in place of features.drafts")
    bots: bool | None = Field(None, description="in place of features.bots")
    repository_settings: bool | None = Field(None, description="in place of features.repository_settings")


class RepositoryFindings(Section):
    min_severity: Severity | None = Field(None, description="in place of findings.min_severity")
    min_confidence: Confidence | None = Field(None, description="in place of findings.min_confidence")


class RepositoryPrompts(Section):
    use: Mapping[str, PromptUse] = Field(default_factory=dict, description="laid over prompts.use, event by event")


class RepositoryPaths(Section):
    ignore: tuple[str, ...] = Field(
        (), description="globs of files in pull requests that Claude is not shown; ** stands for any folders"
    )


class Repository(Section):
    name: RepositoryName = Field(description="owner/repo, or a glob such as owner/*; the most specific entry wins")
    enabled: bool = Field(True, description="false ignores the repository, with that reason")
    events: tuple[str, ...] = Field(
        ("issues", "pull_request"),
        min_length=1,
        description="events to work on, with or without action: issues, issues.opened",
    )
    expect_webhook_within_h: Silence | None = Field(
        None, description="the same of webhooks of the repositories that this entry decides about"
    )
    webhook_secret: SecretStr | tuple[SecretStr, ...] | None = Field(
        None, description="secret of this repository's webhook, in place of github.webhook_secret"
    )
    labels: RepositoryLabels = Field(default_factory=RepositoryLabels, description="overrides of labels")
    comments: RepositoryComments = Field(default_factory=RepositoryComments, description="overrides of comments")
    features: RepositoryFeatures = Field(default_factory=RepositoryFeatures, description="overrides of features")
    prompts: RepositoryPrompts = Field(default_factory=RepositoryPrompts, description="overrides of prompts.use")
    paths: RepositoryPaths = Field(default_factory=RepositoryPaths, description="files that are left out")
    findings: RepositoryFindings = Field(default_factory=RepositoryFindings, description="overrides of findings")


class Logging(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least severe level that is logged")
    format: Literal["json", "text"] = Field("json", description="json: one object a line; text: for people")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where each key was written. Keys of a second file begin with its name: ".github/hls.yaml:labels.allow"."""

    file: str  # as given: "config/settings.yaml"
    lines: Mapping[str, int] = field(default_factory=dict)  # "repositories[0].events" -> 14
    beside: Sources | None = None  # of the file that a repository has of its own

    def writes(self, key: str) -> bool:
        """Whether the key itself is written."""
        sources, path = self._of(key)
        return path in sources.lines

    def line(self, key: str) -> int | None:
        """The line of a key; of a key that is not written, its nearest written parent's; None if there is none."""
        sources, path = self._of(key)
        if sources is not self:
            return sources.line(path)
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)

    def where(self, key: str) -> str:
        """ "config/settings.yaml:14 (repositories[0].events)"; the nearest written parent's line for a default."""
        sources, path = self._of(key)
        line = sources.line(path)
        return f"{sources.file}:{line} ({path})" if line else f"{sources.file} ({path})"

    def change(self, key: str, to: str) -> str:
        """ "set features.bots to true at config/settings.yaml:14"; for a key that is not written, where to add it."""
        if key in self.lines:
            return f"set {key} to {to} at {self.file}:{self.lines[key]}"
        return f"add {key} to {self.file} and set it to {to}"

    def _of(self, key: str) -> tuple[Sources, str]:
        """The file that a key is of, and its path there."""
        mark = f"{self.beside.file}:" if self.beside else ""
        return (self.beside, key.removeprefix(mark)) if self.beside and key.startswith(mark) else (self, key)


class Settings(Section):
    """The whole file."""

    server: Server = Field(default_factory=lambda: Server())
    github: Github
    claude: Claude
    repositories: tuple[Repository, ...] = Field(min_length=1)
    storage: Storage = Field(default_factory=lambda: Storage())
    prompts: Prompts = Field(default_factory=lambda: Prompts())
    limits: Limits = Field(default_factory=lambda: Limits())
    labels: Labels = Field(default_factory=lambda: Labels())
    comments: Comments = Field(default_factory=lambda: Comments())
    findings: Findings = Field(default_factory=lambda: Findings())
    features: Features = Field(default_factory=lambda: Features())
    logging: Logging = Field(default_factory=lambda: Logging())

    _sources: Sources = PrivateAttr(default_factory=lambda: Sources("settings"))
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @property
    def sources(self) -> Sources:
        return self._sources

    def beside(self, sources: Sources) -> Settings:
        """The same settings, which know the lines of a repository's own file, too."""
        settings = self.model_copy()
        settings._sources = replace(self._sources, beside=sources)
        return settings

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the start: a retired model, a key without effect, an open dashboard."""
        return self._warnings


def webhook_secrets(value: SecretStr | tuple[SecretStr, ...] | None) -> tuple[bytes, ...]:
    """The secret or secrets of one `webhook_secret` key as bytes; () where it is not set."""
    if value is None:
        return ()
    secrets = value if isinstance(value, tuple) else (value,)
    return tuple(secret.get_secret_value().encode() for secret in secrets)
