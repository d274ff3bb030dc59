"""Models of the settings file: every key with its default, bounds and meaning.

`python -m tests.settings.make_reference` writes the meaning, which is the string below a key, to
docs/settings.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, PrivateAttr

from hls_handler.settings import shipped
from hls_handler.settings.problems import Sentence
from hls_handler.settings.providers import ClaudeSettings, Retrieval, exactly_one
from hls_handler.settings.sections import (
    Comments,
    FindingSettings,
    LabelSettings,
    PullRequests,
    RepositoryEntry,
    RepositoryFeatures,
    ReviewSettings,
    Similar,
    _login_pattern,
)
from hls_handler.settings.values import (
    AppKey,
    AppPrivateKey,
    Credential,
    DatabaseUrl,
    EventKey,
    Folders,
    GithubUrl,
    HeaderName,
    Hours,
    HttpUrl,
    Identifier,
    Integer,
    Network,
    Number,
    PromptUse,
    RepositoryName,
    Section,
    ServerUrl,
    SharedSecret,
    SharedSecrets,
    SilencedId,
    Tokens,
    UrlPath,
    Usd,
    UserGlob,
    VariableName,
    VariableValue,
    conflict,
    is_loopback,
)
from hls_handler.settings.yaml_parser import Sources

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


OTHER_WEBHOOK_PATH = "/webhooks/github"

"""Path that webhooks of older programs are sent to; HLS receives them there, too."""


class TrustedProxy(Section):
    networks: tuple[Network, ...] = Field(min_length=1)
    """networks of the proxy: the header of any other client does not count"""
    user_header: HeaderName
    """header with the login; the proxy must set it in each request, or remove the client's"""


class Server(Section):
    host: str = Field("127.0.0.1", min_length=1)
    """address to listen on"""
    port: Integer = Field(8000, ge=0, le=65535)
    """TCP port; 0 takes a free one and prints it"""
    public_url: HttpUrl | None = None
    """address of the console, if a proxy with TLS is in front of it"""
    webhook_path: UrlPath = "/webhook"
    """path that GitHub posts to"""
    api_key: SharedSecret | None = None
    """key of the console and, in X-API-Key, of the API, /stats and the full /health; at least
    16 bytes
    """
    trusted_proxy: TrustedProxy | None = None
    """proxy that signs people in, and names them in a header; beside api_key, or in place of it"""
    viewers: tuple[UserGlob, ...] = ()
    """globs of people whom the proxy signs in, and who may only read"""
    max_body_bytes: Integer = Field(25_000_000, ge=1024, le=100_000_000)
    """largest webhook body; a larger one is answered 413"""
    sync_timeout_s: Number = Field(8.0, gt=0, le=9.5)
    """longest wait for the outcome when features.async_processing is false"""
    expect_webhook_within_h: Hours | None = None
    """longest time without any webhook before /health is degraded; unset: no limit"""

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


class GithubApp(Section):
    id: Identifier
    """number of the GitHub App, on the App's page"""
    private_key: AppPrivateKey
    """the App's private key in PEM form; line breaks may be written as \\n"""

    @property
    def rsa_key(self) -> RSAPrivateKey:
        assert isinstance(self.private_key, AppKey)
        return self.private_key.rsa


class GithubSettings(Section):
    """Exactly one of `token`, `tokens` and `app` is set."""

    model_config = ConfigDict(json_schema_extra=exactly_one("app", "token", "tokens"))

    app: GithubApp | None = None
    """GitHub App as which HLS reads and writes"""
    token: Credential | None = None
    """token that reads and writes as HLS's account; in place of app"""
    tokens: Tokens | None = None
    """in place of token: the first is used; the next ones take over while GitHub rejects it or
    its limit is used up
    """
    webhook_secret: SharedSecrets
    """secret of the webhook, at least 16 bytes; a list while rotating"""
    base_url: GithubUrl = "https://api.github.com"
    """address of GitHub's API"""
    min_seconds_between_writes: Number = Field(1.0, ge=0, le=60)
    """pause between two writes to GitHub, over all workers"""

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


class StorageSettings(Section):
    # not in `repr`, because it may contain the database's password
    url: DatabaseUrl = Field("sqlite:///data/hls.db", repr=False)
    """sqlite:///relative/path, sqlite:////absolute/path or
    postgresql+psycopg://user:password@host/name
    """
    keep_days: Integer = Field(90, ge=31, le=3650)
    """how long finished deliveries are kept; counters are kept forever"""
    body_days: Integer = Field(14, ge=1, le=3650)
    """how long the bodies of finished deliveries are kept, and dead ones can be retried"""


class BudgetSettings(Section):
    day_usd: Usd | None = None
    """most that calls of one day (UTC) may cost"""
    month_usd: Usd | None = None
    """most that calls of one month (UTC) may cost"""


class RepositoryBudget(BudgetSettings):
    name: RepositoryName
    """owner/repo, or a glob, whose repositories share the budget"""


class BudgetsSettings(Section):
    total: BudgetSettings = BudgetSettings()
    """for everything"""
    repositories: tuple[RepositoryBudget, ...] = Field((), min_length=1)
    """for repositories"""
    outsiders: BudgetSettings = BudgetSettings()
    """for each account without write permission to the repository"""
    exceeded: Literal["wait", "ignore"] = "wait"
    """what a delivery does whose next call does not fit"""


DEFAULT_FOLDERS = (Path("prompts"), Path("shipped"))


class Prompts(Section):
    directory: Path | Folders = DEFAULT_FOLDERS
    """folder of the prompt library, or shipped for that of HLS; of a list, each file is read
    from the first folder that has it
    """
    use: Mapping[EventKey, PromptUse] = {}
    """which prompt an event uses, if several match, or none is wanted"""
    variables: Mapping[VariableName, VariableValue] = {}
    """values that templates read as config.NAME, for all repositories"""

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
    concurrency: Integer = Field(24, ge=1, le=200)
    """deliveries processed at the same time, over all machines"""
    max_attempts: Integer = Field(4, ge=1, le=100)
    """failures of a delivery's own before it becomes a dead letter"""
    retry_backoff_s: Number = Field(5.0, gt=0, le=300)
    """first pause after a failure; doubled, at most 300 s"""
    give_up_after_h: Number = Field(24.0, gt=0, le=8760)
    """how long deliveries are retried during an outage of GitHub or Claude"""
    shutdown_s: Number = Field(20.0, ge=0, le=600)
    """time for running steps to finish after SIGTERM"""
    settle_s: Number = Field(5.0, ge=0, le=600)
    """how long a push to a pull request waits for a newer one"""
    thread_runs_per_hour: Integer = Field(20, ge=1, le=10_000)
    """analyses of one conversation in an hour; more are ignored, to stop loops"""


class OracleService(Section):
    url: ServerUrl | None = None
    """service that /test-oracle asks in place of Claude"""


class Features(RepositoryFeatures):
    signature_validation: bool = True
    """check GitHub's signature; false only on a loopback host"""
    async_processing: bool = True
    """respond before the delivery is processed"""


class CatchUpSettings(Section):
    enabled: bool = True
    """read webhooks that GitHub could not deliver from its API"""
    hook_id: Identifier | None = None
    """id of the webhook to read, if several have this service's path; unset: the only one"""


class MirrorSettings(Section):
    enabled: bool = True
    """fetch the reviewed commits by git, to read files that are not changed"""
    directory: Path = Path("data/mirror")
    """folder of the mirrors; it may be deleted at any time"""
    max_mb: Integer = Field(500, ge=1, le=100_000)
    """largest mirror of one repository"""
    min_free_mb: Integer = Field(1_000, ge=0, le=10_000_000)
    """room to leave on the disk; below it nothing is fetched"""
    timeout_s: Number = Field(120.0, gt=0, le=3600)
    """longest time for one fetch"""


class Logging(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """least severe level that is logged"""
    format: Literal["json", "text"] | None = None
    """json: one object per line; text: for people; unset: text on a terminal, json elsewhere"""


class Metrics(Section):
    authors: bool = False
    """store authors, and count by author in /metrics; a works council may forbid it"""


class CheckSettings(Section):
    ignore: tuple[SilencedId, ...] = ()
    """ids of warnings and notes that `hls check` does not show"""


class Settings(Section):
    """The whole settings file."""

    server: Server = Server()
    github: GithubSettings
    claude: ClaudeSettings
    repositories: tuple[RepositoryEntry, ...] = Field(min_length=1)
    budgets: BudgetsSettings = BudgetsSettings()
    storage: StorageSettings = StorageSettings()
    prompts: Prompts = Prompts()
    limits: Limits = Limits()
    labels: LabelSettings = LabelSettings()
    comments: Comments = Comments()
    findings: FindingSettings = FindingSettings()
    review: ReviewSettings = ReviewSettings()
    pull_requests: PullRequests = PullRequests()
    retrieval: Retrieval = Retrieval()
    similar: Similar = Similar()
    test_oracle: OracleService = OracleService()
    features: Features = Features()
    logging: Logging = Logging()
    catch_up: CatchUpSettings = CatchUpSettings()
    mirror: MirrorSettings = MirrorSettings()
    metrics: Metrics = Metrics()
    check: CheckSettings = CheckSettings()

    _sources: Sources = PrivateAttr(default_factory=lambda: Sources("settings"))
    _warnings: tuple[Sentence, ...] = PrivateAttr(default=())
    _unset: Mapping[str, str] = PrivateAttr(default_factory=dict)

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
        """One sentence for each key that is valid, but without effect or unsafe."""
        return self._warnings

    @property
    def unset(self) -> Mapping[str, str]:
        """Key path -> why it has no value ("PORT is not set"), if the settings were loaded with
        `allow_unset`.
        """
        return self._unset
