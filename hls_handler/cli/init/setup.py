"""One run of `hls init`: choose between App and token, set up GitHub and Claude, and write the files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from hls_handler.cli.demo import find_hls_command
from hls_handler.cli.demo_claude import KEY_VARIABLE, require_claude_access
from hls_handler.cli.init.dialogue import Dialogue, Outcome, Terminal, find_about_url, open_browser, remaining_steps
from hls_handler.cli.init.files import (
    ALL_REPOSITORIES,
    API_KEY,
    APP_ID,
    SETTINGS_MODE,
    STANDARD_INPUT,
    TOKEN_IDENTITY,
    WEBHOOK_SECRET,
    AppFiles,
    DotenvFile,
    Identity,
    app_identity,
    free_copy_name,
    read_secret,
    read_text,
    require_writable,
    settings_text,
    write_file,
)
from hls_handler.cli.init.github import (
    KINDS_OF_TOKENS,
    TOKEN,
    AppRequest,
    AppSetup,
    InstalledApp,
    check_name,
    check_repositories,
    check_token,
    check_webhook_url,
    github_section,
    new_secret,
)
from hls_handler.cli.init.webhook import PingReceiver, TokenWebhooks, prove_claude, prove_webhook
from hls_handler.cli.options import DOTENV, print_line, print_lines, utc_now
from hls_handler.clients.claude_errors import KEY_REMEDY
from hls_handler.errors import DependencyDown, SettingsError, with_remedy
from hls_handler.settings.load import SETTINGS_FILE, load_settings
from hls_handler.settings.model import Claude, Github, Server
from hls_handler.settings.values import PROBLEM, web_url

KEY_FILE_NAME = "github-app.pem"
DEFAULT_GITHUB, DEFAULT_CLAUDE = "https://api.github.com", "https://api.anthropic.com"
DEFAULT_WEBHOOK_PATH = "/webhook"


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The options of the command line; None: not given."""

    config: Path | None = None
    app: bool = False
    name: str | None = None
    organization: str | None = None
    webhook_url: str | None = None
    token_file: Path | None = None
    repositories: tuple[str, ...] = ()
    claude_key_file: Path | None = None
    github_url: str | None = None
    claude_url: str | None = None
    port: int = 0
    browser: bool = True
    wait: bool = True
    yes: bool = False


class Init:
    """One run of `hls init`."""

    def __init__(
        self,
        options: InitOptions,
        environ: Mapping[str, str],
        terminal: Terminal | None,
        *,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], None] = time.sleep,
        browser: Callable[[str], object] = open_browser,
    ) -> None:
        self._options, self._environ = options, environ
        self._dialogue = Dialogue(terminal, yes=options.yes)
        self._now, self._sleep = now, sleep
        self._path = options.config or Path(environ.get("HLS_CONFIG") or SETTINGS_FILE)
        self._dotenv = DotenvFile(DOTENV)
        self._github_url = _check_url("--github-url", options.github_url or DEFAULT_GITHUB)
        self._claude_url = _check_url("--claude-url", options.claude_url or DEFAULT_CLAUDE)
        self._app_files = AppFiles(self._path.with_name(KEY_FILE_NAME), self._dotenv)
        self._app = AppSetup(
            AppRequest(
                options.name,
                options.organization,
                options.webhook_url,
                options.port,
                options.wait,
                check_repositories(options.repositories) if options.repositories else (),
            ),
            self._app_files,
            self._dialogue,
            base_url=self._github_url,
            now=now,
            sleep=sleep,
            open_browser=browser if options.browser else lambda _url: False,
        )

    def run(self) -> None:
        """Raises `SettingsError` for usage errors and unusable files, and other errors of GitHub and Claude."""
        self._check_options()
        way = self._choose_way()
        require_writable(self._path)
        require_writable(DOTENV)
        app = self._app.run() if way == "app" else None
        if app is not None:
            identity, webhook_url = app_identity(self._app_files.key), app.webhook_url
            repositories = self._choose_repositories(app)
        else:
            identity, webhook_url = TOKEN_IDENTITY, self._app.ask_webhook_url()
            repositories = self._set_up_token()
        has_key = self._set_up_claude()
        self._store({API_KEY: new_secret(self._variables(), API_KEY)})
        is_written = self._write_settings(identity, repositories, webhook_url)
        self._warn_of_overridden_variables()
        settings = load_settings(self._path, self._environ, dotenv=DOTENV) if has_key else None
        connected: Mapping[str, int] = {}
        with PingReceiver(settings) if settings is not None else nullcontext():
            server = settings.server if settings is not None else Server()
            if app is not None:
                prove_webhook(self._app.ping, webhook_url, server)
            elif is_written:
                connected = self._connect_webhooks(repositories, webhook_url, server)
        if settings is not None:
            prove_claude(settings.claude)
        outcome = Outcome(
            web_url(self._github_url),
            webhook_url,
            repositories,
            app_settings_url=app.settings_url if app is not None else None,
            is_installed=app is not None and bool(app.repositories),
            has_claude_key=has_key,
            connected=frozenset(connected),
        )
        print_line("")
        print_line("Next steps:")
        steps = remaining_steps(outcome, hls=find_hls_command(), config=self._options.config, dotenv=DOTENV)
        for number, step in enumerate(steps, start=1):
            print_lines(f"  {number}. {step}")
        if not is_written:
            raise SettingsError([f"{self._path.absolute()} was not replaced; --yes replaces it and keeps a copy"])

    # --- options ---------------------------------------------------------------------------------------------------

    def _variables(self) -> Mapping[str, str]:
        return {**self._dotenv.read(), **{name: value for name, value in self._environ.items() if value.strip()}}

    def _check_options(self) -> None:
        options = self._options
        if options.app and options.token_file is not None:
            raise SettingsError(["--app and --token-file exclude each other"])
        if options.token_file == options.claude_key_file == STANDARD_INPUT:
            raise SettingsError(["only one of --token-file and --claude-key-file can be -"])
        for_app = {"--name": options.name, "--organization": options.organization}
        given = [option for option, value in for_app.items() if value is not None]
        if given and options.token_file is not None:
            raise SettingsError([f"{given[0]} is for --app, not for --token-file"])
        if options.name is not None:
            check_name(options.name)
        if options.webhook_url is not None:
            check_webhook_url(options.webhook_url)
        if options.repositories:
            check_repositories(options.repositories)
        if self._dialogue.terminal is None:
            missing = list(self._find_missing())
            if missing:
                raise SettingsError(["there is no terminal to ask on; add these options:", *missing])

    def _find_missing(self) -> Iterator[str]:
        options, variables = self._options, self._variables()
        way = self._find_way()
        if way is None:
            yield f"  --app, --token-file FILE, or the variable {TOKEN}"
        if way != "token" and not self._app.exists():
            if options.name is None:
                yield "  --name NAME   name of the App, unique on GitHub (for --app)"
            if options.webhook_url is None:
                yield "  --webhook-url URL   public address that GitHub sends events to, or none (for --app)"
        if way != "app" and not options.repositories:
            yield "  --repository OWNER/REPO   repeatable" + ("" if way else " (for a token)")
        if options.claude_key_file is None and KEY_VARIABLE not in variables:
            yield f"  --claude-key-file FILE, or the variable {KEY_VARIABLE}"

    def _find_way(self) -> Literal["app", "token"] | None:
        if self._options.app or self._options.token_file is not None:
            return "app" if self._options.app else "token"
        if self._app.exists():
            return "app"
        return "token" if TOKEN in self._variables() and self._dialogue.terminal is None else None

    def _choose_way(self) -> Literal["app", "token"]:
        way = self._find_way()
        if way is not None:
            return way
        choices = (
            "a GitHub App: two clicks on GitHub; an identity of its own, for personal repositories and organisations",
            "a token: for an account that has one already, or that may create one",
        )
        return "app" if self._dialogue.choose("How does HLS sign in to GitHub?", choices) == 0 else "token"

    # --- GitHub ----------------------------------------------------------------------------------------------------

    def _choose_repositories(self, installed: InstalledApp) -> tuple[str, ...]:
        found = installed.repositories
        if self._options.repositories:
            return check_repositories(self._options.repositories)
        if len(found) > 1 and self._dialogue.terminal is not None and not self._options.yes:
            return self._dialogue.choose_several(
                "The App is installed on these. Which of them does HLS process?", found
            )
        print_line(
            f"Repositories: {', '.join(found) or 'none yet; the settings allow all on which the App is installed'}"
        )
        return found or (ALL_REPOSITORIES,)

    def _set_up_token(self) -> tuple[str, ...]:
        variables = self._variables()
        token = variables.get(TOKEN, "")
        if self._options.token_file is not None:
            token = read_secret(self._options.token_file)
        elif not token:
            assert self._dialogue.terminal is not None
            print_lines(KINDS_OF_TOKENS)
            token = self._dialogue.terminal.ask_hidden("Token (not shown)", None)
        else:
            print_line(f"Using the variable {TOKEN}.")
        _require_header_text("the token", token)
        names = check_repositories(self._options.repositories) if self._options.repositories else ()
        names = check_token(self._github_url, token, names, self._dialogue, now=self._now)
        self._store({TOKEN: token, WEBHOOK_SECRET: new_secret(variables, WEBHOOK_SECRET)})
        return names

    def _connect_webhooks(self, repositories: tuple[str, ...], url: str, server: Server) -> Mapping[str, int]:
        """Create or update the webhooks, let GitHub ping the first one, and return the ids by repository."""
        variables = self._variables()
        token, secret = variables[TOKEN], self._dotenv.read()[WEBHOOK_SECRET]
        webhooks = TokenWebhooks(github_section(self._github_url, token), token, now=self._now)
        connected = webhooks.connect(repositories, url=url, secret=secret)
        if connected:
            first, hook_id = next(iter(connected.items()))
            prove_webhook(partial(webhooks.ping, first, hook_id, sleep=self._sleep), url, server)
        return connected

    # --- Claude ----------------------------------------------------------------------------------------------------

    def _set_up_claude(self) -> bool:
        """Return False if the user has no key yet."""
        if self._options.claude_key_file is not None:
            key = read_secret(self._options.claude_key_file)
            self._check_claude(key)
        elif KEY_VARIABLE in self._variables():
            key = self._variables()[KEY_VARIABLE].strip()
            print_line(f"Using the variable {KEY_VARIABLE}.")
            self._check_claude(key)
        else:
            asked = self._ask_claude_key()
            if asked is None:
                return False
            key = asked
        self._store({KEY_VARIABLE: key})
        return True

    def _ask_claude_key(self) -> str | None:
        assert self._dialogue.terminal is not None
        while True:
            key = self._dialogue.terminal.ask_hidden("Key of the Claude API (not shown; Enter: add it later)", "")
            if not key:
                return None
            try:
                self._check_claude(key)
            except DependencyDown as exc:
                print_line(with_remedy(exc))
            except SettingsError as exc:
                for problem in exc.problems:
                    print_line(problem)
            else:
                return key

    def _check_claude(self, key: str) -> None:
        _require_header_text("the key of Claude", key)
        try:
            require_claude_access(Claude(api_key=SecretStr(key), base_url=self._claude_url))
        except DependencyDown as exc:
            if exc.remedy == KEY_REMEDY:
                raise DependencyDown(
                    "Claude rejected the key (401)",
                    dependency="claude",
                    remedy="create one at https://platform.claude.com",
                ) from None
            print_line(f"The key of Claude could not be checked: {with_remedy(exc)}")
        else:
            print_line("Claude: the key works")

    # --- files -----------------------------------------------------------------------------------------------------

    def _store(self, variables: Mapping[str, str]) -> None:
        present = self._dotenv.read()
        for name, value in variables.items():
            if present.get(name, value) != value and not self._dialogue.confirm(
                f"{DOTENV} has another {name}. Replace it? The present line is kept as a comment."
            ):
                raise SettingsError([f"{DOTENV} is unchanged; remove {name} from it, then start `hls init` again"])
        if any(present.get(name) != value for name, value in variables.items()):
            self._dotenv.set(variables)
            print_line(f"Stored in {DOTENV}: {', '.join(variables)}")

    def _write_settings(self, identity: Identity, repositories: tuple[str, ...], webhook_url: str) -> bool:
        """Return False if a file with another content stays."""
        webhook_path = urlsplit(webhook_url).path
        text = settings_text(
            identity,
            repositories,
            github_url=self._github_url if self._github_url != DEFAULT_GITHUB else None,
            claude_url=self._claude_url if self._claude_url != DEFAULT_CLAUDE else None,
            webhook_path=webhook_path if webhook_path != DEFAULT_WEBHOOK_PATH else None,
            about_url=find_about_url(webhook_url),
        )
        present = read_text(self._path)
        if present == text:
            print_line(f"{self._path} is up to date")
            return True
        if present is not None:
            copy = free_copy_name(self._path)
            question = f"{self._path} exists. Replace it? A copy is kept as {copy.name}."
            if (self._dialogue.terminal is None and not self._options.yes) or not self._dialogue.confirm(question):
                print_line(f"{self._path} is unchanged. It must contain:")
                print_lines(text.rstrip("\n"))
                return False
            write_file(copy, present)
        write_file(self._path, text, mode=SETTINGS_MODE)
        print_line(f"Written: {self._path}")
        return True

    def _warn_of_overridden_variables(self) -> None:
        for name, value in self._dotenv.read().items():
            if name in (APP_ID, WEBHOOK_SECRET, TOKEN, KEY_VARIABLE) and self._environ.get(name, value) != value:
                print_line(f"The environment has another {name}, which takes precedence over {DOTENV}: unset it")


def _check_url(option: str, url: str) -> str:
    try:
        return Github.model_validate({"token": "x", "webhook_secret": "x" * 16, "base_url": url}).base_url
    except ValidationError as exc:
        error = exc.errors()[0]
        reason = error["msg"] if error["type"] == PROBLEM else "expected an address that starts with https://"
    raise SettingsError([f"{option}: {url}: {reason}"])


def _require_header_text(noun: str, secret: str) -> None:
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise SettingsError([f"{noun} contains a character that is not allowed; copy it again"])
