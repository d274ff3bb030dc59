"""The account of HLS on GitHub: create and install a GitHub App, or check a token."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from pydantic import SecretStr

from hls_handler.cli.init.dialogue import Dialogue, ManifestServer
from hls_handler.cli.init.files import APP_ID, WEBHOOK_SECRET, AppFiles, read_text, redirect_file, write_file
from hls_handler.cli.options import print_line
from hls_handler.clients.app_setup import (
    MAX_NAME_CHARS,
    AppClient,
    convert_code,
    installation_url,
    make_manifest,
    new_app_url,
)
from hls_handler.clients.credentials import AppAccount, Owner
from hls_handler.clients.github import ReadOnlyGithub, connect_read_only
from hls_handler.clients.webhook_setup import UNSERVED_URL
from hls_handler.deliveries import DeliveryAttempt
from hls_handler.errors import DependencyDown, Permanent, SettingsError
from hls_handler.events import REPOSITORY_NAME
from hls_handler.settings.app_key import AppKey, InvalidAppKey
from hls_handler.settings.model import Github
from hls_handler.settings.values import is_loopback, web_url

POLL_S = 3.0
CODE_LIFETIME_S = 3600.0
NO_URL = "none"


@dataclass(frozen=True, slots=True)
class AppRequest:
    """The user's choices; None: not given."""

    name: str | None = None
    organization: str | None = None
    webhook_url: str | None = None  # `NO_URL`: there is no public address yet
    port: int = 0
    wait: bool = True
    repositories: tuple[str, ...] = ()  # that the App must be installed on; () for those on which it is installed


@dataclass(frozen=True, slots=True)
class InstalledApp:
    settings_url: str
    webhook_url: str
    repositories: tuple[str, ...]  # ("owner/repo", "other/*"); () if the App is not installed yet


class AppSetup:
    """Creates the App, or continues where an earlier `hls init` ended."""

    def __init__(
        self,
        request: AppRequest,
        files: AppFiles,
        dialogue: Dialogue,
        *,
        base_url: str,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        open_browser: Callable[[str], object],
    ) -> None:
        self._request, self._files, self._dialogue = request, files, dialogue
        self._base_url, self._now, self._sleep, self._open_browser = base_url, now, sleep, open_browser

    def exists(self) -> bool:
        """Return True if an App is stored, or a code for one. Raises `SettingsError` if only a part of it is there."""
        return self._files.read_pending() is not None or self._find_stored() is not None

    def run(self) -> InstalledApp:
        """Raises `SettingsError`, or an error of `clients/` if GitHub fails; a later run continues."""
        pending = self._files.read_pending()
        created = False
        if isinstance(pending, str):
            print_line("Continuing: GitHub confirmed an App before the last `hls init` ended.")
            self._exchange(pending)
        elif pending is not None:
            self._files.store(pending)
        elif self._find_stored() is None:
            self._create()
            created = True
        stored = self._find_stored()
        assert stored is not None
        client = AppClient(self._base_url, stored[0], stored[1], now=self._now)
        app = self._fetch_app(client)
        settings_url = app.settings_url(web_url(self._base_url))
        owner = f"of {app.owner.login}"
        print_line(f"GitHub App: {app.slug} (id {stored[0]}) {owner}; its private key is in {self._files.key}")
        if self._request.organization not in (None, app.owner.login):
            print_line(f"--organization {self._request.organization} has no effect: this App exists already")
        webhook_url = client.fetch_webhook_url()
        if self._request.webhook_url is not None and check_webhook_url(self._request.webhook_url) != webhook_url:
            print_line(f"The App's webhook URL is {webhook_url}; change it at {settings_url}")
        repositories = self._wait_for_installation(client, installation_url(app.html_url), opened=created)
        if repositories:
            self._require_installed(client, settings_url)
        return InstalledApp(settings_url, webhook_url, repositories)

    def ping(self) -> DeliveryAttempt | None:
        """Let GitHub send the ping of the App's webhook again. Raises a `StepFailed`."""
        stored = self._find_stored()
        assert stored is not None
        client = AppClient(self._base_url, stored[0], stored[1], now=self._now)
        return client.redeliver_ping(sleep=self._sleep)

    def _require_installed(self, client: AppClient, settings_url: str) -> None:
        missing = [one for one in self._request.repositories if "*" not in one and not client.is_installed_on(one)]
        if missing:
            remedy = f"check the name, or add it on {settings_url}/installations, then start `hls init` again"
            raise SettingsError([f"{name}: the App is not installed there; {remedy}" for name in missing])

    def _fetch_app(self, client: AppClient) -> AppAccount:
        try:
            return client.fetch_app()
        except Permanent as exc:
            dotenv, key = self._files.dotenv.path, self._files.key.absolute()
            remedy = (
                f"if the App was deleted, remove {APP_ID} from {dotenv} and delete {key}, then start `hls init` again"
            )
            raise Permanent(f"{exc}; {remedy}") from None

    def _find_stored(self) -> tuple[int, AppKey] | None:
        app_id, pem = self._files.dotenv.read().get(APP_ID), read_text(self._files.key)
        dotenv, key = self._files.dotenv.path, self._files.key
        if app_id is None and pem is None:
            return None
        pages = f"{web_url(self._base_url)}/settings/apps"
        if pem is None:
            remedy = f"generate a private key on the App's page ({pages}) and save it there, or remove the line"
            raise SettingsError([f"{dotenv} has {APP_ID}, but there is no {key.absolute()}: {remedy} to create an App"])
        if app_id is None:
            remedy = f"add {APP_ID}=, the number on the App's page ({pages}), or move the key away"
            raise SettingsError([f"{key.absolute()} exists, but {dotenv} has no {APP_ID}: {remedy} to create an App"])
        if not (app_id.isascii() and app_id.isdigit()):
            raise SettingsError([f"{dotenv}: {APP_ID} must be the number on the App's page ({pages})"])
        try:
            return int(app_id), AppKey(pem)
        except InvalidAppKey as exc:
            raise SettingsError([f"{key.absolute()}: {exc}"]) from None

    def _create(self) -> None:
        dotenv = self._files.dotenv
        if WEBHOOK_SECRET in dotenv.read() and not self._dialogue.confirm(
            f"{dotenv.path} has a {WEBHOOK_SECRET}, and GitHub generates one for the App. Replace it? "
            "The present line is kept as a comment."
        ):
            raise SettingsError([f"nothing was changed: remove {WEBHOOK_SECRET} from {dotenv.path}, then start again"])
        with closing(connect_anonymous(self._base_url, now=self._now)) as github:
            require_accounts(github, self._request.repositories)
            organization = self._ask_organization(github)
        name = self._ask_name(organization)
        webhook_url = self.ask_webhook_url()
        web = web_url(self._base_url)
        with ManifestServer(port=self._request.port, exchange=self._exchange) as page:
            manifest = make_manifest(
                name=name,
                homepage=f"{web}/{organization}" if organization else web,
                redirect_url=page.redirect_url,
                webhook_url=webhook_url,
            )
            page.offer(manifest, action=new_app_url(self._base_url, organization, state=page.state))
            with redirect_file(self._files.page, page.url) as address:
                print_line("Create the App: confirm it on GitHub. If no browser opens, open this address:")
                print_line(f"  {page.url}")
                tunnel = f"ssh -L {page.port}:127.0.0.1:{page.port} HOST"
                print_line(f"  (browser on another machine: first run {tunnel} there)")
                self._open_browser(address)
                is_ended = page.ended.wait(CODE_LIFETIME_S)
            if not is_ended:
                raise SettingsError(["GitHub sent no answer within an hour; start `hls init` again"])
            if page.problem is not None:
                raise page.problem

    def _exchange(self, code: str) -> str:
        write_file(self._files.pending, json.dumps({"code": code}))
        try:
            app = convert_code(self._base_url, code, now=self._now)
        except Permanent as exc:
            self._files.pending.unlink(missing_ok=True)
            apps = f"{web_url(self._base_url)}/settings/apps"
            remedy = f"start `hls init` again; if the App is listed at {apps}, delete it there first"
            raise Permanent(f"{exc}; {remedy}") from None
        except DependencyDown as exc:
            remedy = f"{exc.remedy}. The App is created, and its code is stored: start `hls init` again within an hour"
            raise DependencyDown(str(exc), dependency="github", remedy=remedy) from None
        self._files.store(app)
        return installation_url(app.html_url)

    def _ask_organization(self, github: ReadOnlyGithub) -> str | None:
        def check(login: str) -> str | None:
            return check_organization(github, login) if login else None

        if self._request.organization is not None or self._dialogue.terminal is None:
            return check(self._request.organization or "")
        return self._dialogue.ask_valid("Organisation that owns the App (Enter: your own account)", "", check)

    def _ask_name(self, organization: str | None) -> str:
        if self._request.name is not None:
            return check_name(self._request.name)
        default = f"hls-{organization}"[:MAX_NAME_CHARS] if organization else None
        return self._dialogue.ask_valid("Name of the App, unique on GitHub", default, check_name)

    def ask_webhook_url(self) -> str:
        if self._request.webhook_url is not None or self._dialogue.terminal is None:
            return check_webhook_url(self._request.webhook_url or NO_URL)
        print_line("GitHub sends events to a public address of this service. Without one, `hls listen` fetches them.")
        return self._dialogue.ask_valid(
            "Webhook URL, such as https://hls.example.com/webhook, or none", NO_URL, check_webhook_url
        )

    def _wait_for_installation(self, client: AppClient, url: str, *, opened: bool) -> tuple[str, ...]:
        terminal, announced, problem = self._dialogue.terminal, False, ""
        while True:
            try:
                repositories = client.list_repositories()
                if repositories:
                    return repositories
            except DependencyDown as exc:  # the App exists: wait for the end of the outage
                if str(exc) != problem:
                    problem = str(exc)
                    print_line(f"{exc}; {exc.remedy}")
            if not self._request.wait:
                print_line(f"The App is not installed yet. Choose its repositories at {url}")
                return ()
            if not announced:
                announced = True
                print_line("Install the App on your repositories, in the browser, or open this address:")
                print_line(f"  {url}")
                print_line("Waiting until it is installed." + (" Enter: continue without." if terminal else ""))
                if not opened:
                    self._open_browser(url)
            if terminal is None:
                self._sleep(POLL_S)
            elif terminal.wait_for_enter(POLL_S):
                return ()


def check_name(name: str) -> str:
    """Return the name of an App. Raises `SettingsError`."""
    if not name.strip() or len(name) > MAX_NAME_CHARS:
        raise SettingsError([f"--name: expected 1 to {MAX_NAME_CHARS} characters, found {len(name)}"])
    return name


def check_webhook_url(url: str) -> str:
    """Return the URL of the webhook; `UNSERVED_URL` for "none". Raises `SettingsError`."""
    if url == NO_URL:
        return UNSERVED_URL
    problem = ""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        host, problem = "", "is not an address"
    if not problem and (parts.scheme not in ("https", "http") or not host or any(map(str.isspace, url))):
        problem = "is not an address"
    elif is_loopback(host):
        problem = "is an address of this machine only, which GitHub rejects"
    elif parts.query or parts.fragment or "@" in parts.netloc:
        problem = "must have no user name, ? or #"
    if problem:
        expected = "expected one such as https://hls.example.com/webhook, or none"
        raise SettingsError([f"--webhook-url: {url} {problem}; {expected}"])
    return url if parts.path.strip("/") else f"{url.rstrip('/')}/webhook"


TOKEN = "GITHUB_TOKEN"  # noqa: S105 (the name of a variable)
KINDS_OF_TOKENS = """\
GitHub does not let an invited collaborator create a fine-grained token for a personal repository. A token works for
  - your own account, or a member of the organisation: a fine-grained token for the repositories, with Issues and Pull
    requests (read and write), Actions, Contents and Webhooks (read; or write, to create the webhooks);
  - a separate bot account that is a collaborator: a classic token with the scope repo. `hls listen` and missed webhooks
    need an account that administers the repository, as only such an account may list its webhooks."""


def check_token(
    base_url: str, token: str, repositories: tuple[str, ...], dialogue: Dialogue, *, now: Callable[[], datetime]
) -> tuple[str, ...]:
    """Check the token, print what it lacks, and return the repositories, which are asked for if none is given.

    Raises `SettingsError` if a repository does not exist, and an error of `clients/` if GitHub rejects the token or
    fails.
    """
    with closing(connect_read_only(github_section(base_url, token), now=now)) as github:
        account = github.fetch_bot_account()
        print_line(f"GitHub: the token belongs to {account.login} ({account.type})")

        def parse(text: str) -> tuple[str, ...]:
            names = parse_repositories(text)
            require_repositories(github, names)
            return names

        if repositories:
            require_repositories(github, repositories)
        names = repositories or dialogue.ask_valid("Repositories, separated by commas, such as owner/repo", None, parse)
        for name in names:
            if "*" not in name:
                for sentence in github.find_missing_permissions(name, with_webhooks=True):
                    print_line(f"  {sentence}")
    return names


def require_repositories(github: ReadOnlyGithub, names: tuple[str, ...]) -> None:
    """Raise `SettingsError` for repositories and organisations that do not exist, or that the token may not read."""
    patterns = tuple(name for name in names if "*" in name)
    problems = [
        f"{name}: {owner.login} is a person's account, and GitHub has no webhook for all repositories of a person; "
        "name each repository"
        for name, owner in require_accounts(github, patterns).items()
        if owner.type == "User"
    ]
    for name in names:
        try:
            if "*" not in name and not github.has_repository(name):
                remedy = "check the name, and for which repositories the token was created"
                problems.append(f"{name}: GitHub has no such repository, or the token may not read it; {remedy}")
        except Permanent as exc:
            problems.append(f"{name}: {exc}")
    if problems:
        raise SettingsError(problems)


def require_accounts(github: ReadOnlyGithub, names: tuple[str, ...]) -> Mapping[str, Owner]:
    """Return the owners of repositories, without those of "*/*". Raises `SettingsError` if one does not exist."""
    logins = {name: login for name in names if "*" not in (login := name.partition("/")[0])}
    found = {name: _find_owner(github, login) for name, login in logins.items()}
    unknown = [
        f"{name}: GitHub has no account {logins[name]}; check the name"
        for name, owner in found.items()
        if owner is None
    ]
    if unknown:
        raise SettingsError(unknown)
    return {name: owner for name, owner in found.items() if owner is not None}


def check_organization(github: ReadOnlyGithub, login: str) -> str:
    """Return the name. Raises `SettingsError` if it is not that of an organisation."""
    found = _find_owner(github, login)
    if found is None:
        raise SettingsError([f"--organization: GitHub has no organisation {login}; check the name"])
    if found.type == "User":
        raise SettingsError([f"--organization: {login} is a person's account; omit the option for an App of your own"])
    return login


def _find_owner(github: ReadOnlyGithub, login: str) -> Owner | None:
    try:
        return github.find_account(login)
    except (DependencyDown, Permanent) as exc:  # such as the limit of requests without a token
        print_line(f"The account {login} was not checked: {exc}")
        return Owner(login=login, type="")


def connect_anonymous(base_url: str, *, now: Callable[[], datetime]) -> ReadOnlyGithub:
    return connect_read_only(github_section(base_url, "none"), now=now, anonymous=True)


def github_section(base_url: str, token: str) -> Github:
    return Github(token=SecretStr(token), webhook_secret=SecretStr(secrets.token_hex()), base_url=base_url)


def parse_repositories(text: str) -> tuple[str, ...]:
    """Return ("owner/repo", "owner/*") for names separated by commas or spaces. Raises `SettingsError`."""
    return check_repositories(tuple(text.replace(",", " ").split()))


def check_repositories(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names without duplicates; a URL is shortened to owner/repo. Raises `SettingsError`."""
    found = tuple(_shorten(name) if "://" in name else name for name in names)
    for name in found:
        if not REPOSITORY_NAME.fullmatch(name.replace("*", "x")):
            raise SettingsError([f"{name}: expected a repository such as owner/repo, or owner/* for all of an account"])
    if not found:
        raise SettingsError(["name at least one repository, such as owner/repo"])
    return tuple(dict.fromkeys(found))


def _shorten(url: str) -> str:
    return "/".join(urlsplit(url).path.strip("/").split("/")[:2]).removesuffix(".git")


def new_secret(present: Mapping[str, str], name: str) -> str:
    """Return the stored secret of this name, or a new one."""
    return present.get(name) or secrets.token_hex(32)
