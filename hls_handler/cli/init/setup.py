"""The steps of `hls init`: ask, connect GitHub and Claude, write the settings, and prove that both work."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import nullcontext
from functools import partial
from typing import Literal

from pydantic import SecretStr

from hls_handler.analysis import REPLY_TYPES, ValidReply
from hls_handler.cli.demo import KEY_VARIABLE, find_hls_command, require_claude_access
from hls_handler.cli.init.files import (
    SETTINGS_MODE,
    STANDARD_INPUT,
    find_about_url,
    free_copy_name,
    read_text,
    read_variables,
    require_writable,
    settings_text,
    write_file,
)
from hls_handler.cli.init.github import (
    APP_ID,
    TOKEN,
    WEBHOOK_SECRET,
    Connection,
    app_exists,
    connect_webhooks,
    new_secret,
    prove_webhook,
    require_header_text,
    set_up_app,
    set_up_token,
)
from hls_handler.cli.init.servers import answer_pings
from hls_handler.cli.init.session import Session
from hls_handler.cli.options import DOTENV, connect_claude, print_line, print_lines
from hls_handler.clients.app_setup import EVENTS
from hls_handler.clients.claude_errors import KEY_REMEDY
from hls_handler.clients.webhook_setup import UNSERVED_URL
from hls_handler.errors import DependencyDown, HlsError, SettingsError, with_remedy
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Claude, Server
from hls_handler.settings.values import web_url

API_KEY = "HLS_API_KEY"
QUESTION = "This is the first question of a new service. Reply with worth_saying false and a summary of one word."
REPLY = "generic_analysis"
FOR_OTHER_TOKENS = """
     If the token may not list webhooks, `gh webhook forward` brings them to `hls serve` (docs/setup.md)."""


def run(session: Session) -> None:
    """Raises `SettingsError` for usage errors and unusable files, and other errors of GitHub and Claude."""
    _require_options(session)
    account = _choose_account(session)
    require_writable(session.settings_path)
    require_writable(DOTENV)
    connection = set_up_app(session) if account == "app" else set_up_token(session)
    has_key = _set_up_claude(session)
    session.store({API_KEY: new_secret(session.variables(), API_KEY)})
    is_written = _write_settings(session, connection)
    for name, value in read_variables(DOTENV).items():
        if name in (APP_ID, WEBHOOK_SECRET, TOKEN, KEY_VARIABLE) and session.environ.get(name, value) != value:
            print_line(f"The environment has another {name}, which takes precedence over {DOTENV}: unset it")
    settings = load_settings(session.settings_path, session.environ, dotenv=DOTENV) if has_key else None
    server = settings.server if settings else Server()
    connected: Set[str] = frozenset()
    with answer_pings(settings) if settings else nullcontext():
        if connection.app is not None:
            ping = partial(connection.app.redeliver_ping, sleep=session.sleep)
            prove_webhook(ping, connection.webhook_url, server)
        elif is_written:
            connected = connect_webhooks(session, connection, server)
    if settings is not None:
        _prove_claude(settings.claude)
    print_lines("\nNext steps:")
    for number, step in enumerate(_remaining_steps(session, connection, has_key, connected), start=1):
        print_lines(f"  {number}. {step}")
    if not is_written:
        raise SettingsError(
            [f"{session.settings_path.absolute()} was not replaced; --yes replaces it and keeps a copy"]
        )


def _require_options(session: Session) -> None:
    if session.app and session.token_file is not None:
        raise SettingsError(["--app and --token-file exclude each other"])
    if session.token_file == session.claude_key_file == STANDARD_INPUT:
        raise SettingsError(["only one of --token-file and --claude-key-file can be -"])
    for option, value in (("--name", session.name), ("--organization", session.organization)):
        if value is not None and session.token_file is not None:
            raise SettingsError([f"{option} is for --app, not for --token-file"])
    missing = [] if session.terminal.is_present else list(_find_missing(session))
    if missing:
        raise SettingsError(["there is no terminal to ask on; add these options:", *missing])


def _find_missing(session: Session) -> Iterator[str]:
    """Yield a line for each option that is needed if there is no terminal."""
    account = _find_account(session)
    if account is None:
        yield f"  --app, --token-file FILE, or the variable {TOKEN}"
    if account != "token" and not app_exists(session):
        if session.name is None:
            yield "  --name NAME   name of the App, unique on GitHub (for --app)"
        if session.webhook_url is None:
            yield "  --webhook-url URL   public address that GitHub sends events to, or none (for --app)"
    if account != "app" and not session.repositories:
        yield "  --repository OWNER/REPO   repeatable" + ("" if account else " (for a token)")
    if session.claude_key_file is None and KEY_VARIABLE not in session.variables():
        yield f"  --claude-key-file FILE, or the variable {KEY_VARIABLE}"


def _find_account(session: Session) -> Literal["app", "token"] | None:
    if session.app or session.token_file is not None:
        return "app" if session.app else "token"
    if app_exists(session):
        return "app"
    return "token" if TOKEN in session.variables() and not session.terminal.is_present else None


def _choose_account(session: Session) -> Literal["app", "token"]:
    choices = (
        "a GitHub App: two clicks on GitHub; an identity of its own, for personal repositories and organisations",
        "a token: for an account that has one already, or that may create one",
    )
    account = _find_account(session)
    if account is None:
        (chosen,) = session.terminal.choose("How does HLS sign in to GitHub?", choices)
        account = "app" if chosen == choices[0] else "token"
    return account


# --- Claude ------------------------------------------------------------------------------------------------------


def _set_up_claude(session: Session) -> bool:
    """Check and store the key. Returns False if the user has none yet."""

    def check(key: str) -> str:
        try:
            if key:
                _check_claude(session, key)
        except DependencyDown as exc:
            raise SettingsError([with_remedy(exc)]) from None
        return key

    key = session.find_secret(session.claude_key_file, KEY_VARIABLE).strip()
    if key:
        _check_claude(session, key)
    else:
        question = "Key of the Claude API (not shown; Enter: add it later)"
        key = session.terminal.ask_valid(question, "", check, is_hidden=True)
    if key:
        session.store({KEY_VARIABLE: key})
    return bool(key)


def _check_claude(session: Session, key: str) -> None:
    require_header_text("the key of Claude", key)
    try:
        require_claude_access(Claude(api_key=SecretStr(key), base_url=session.claude_url))
    except DependencyDown as exc:
        if exc.remedy == KEY_REMEDY:
            remedy = "create one at https://platform.claude.com"
            raise DependencyDown("Claude rejected the key (401)", dependency="claude", remedy=remedy) from None
        print_line(f"The key of Claude could not be checked: {with_remedy(exc)}")
    else:
        print_line("Claude: the key works")


def _prove_claude(settings: Claude) -> None:
    """Ask Claude one question, and print whether the reply is valid."""
    model = REPLY_TYPES[REPLY]
    prompt = Prompt("init", id="the question of hls init", path="", on=(), reply=REPLY, reply_model=model)
    try:
        with connect_claude(settings) as claude:
            answer = claude.ask(RenderedPrompt(prompt, "", QUESTION, model.model_json_schema()))
    except HlsError as exc:
        print_line(f"Claude did not answer: {with_remedy(exc)}")
        return
    if not isinstance(answer, ValidReply):
        print_line(f"Claude's reply cannot be used: {answer.problem}")
        return
    cost = "" if answer.usage.cost_usd is None else f", for {answer.usage.cost_usd:.6f} USD"
    print_line(f"Claude answered a question with {answer.usage.model}{cost}")


# --- settings and remaining steps --------------------------------------------------------------------------------


def _write_settings(session: Session, connection: Connection) -> bool:
    """Return False if a file with another content stays."""
    path, key_path = session.settings_path, session.key_path if connection.app is not None else None
    text = settings_text(
        key_path,
        connection.repositories,
        webhook_url=connection.webhook_url,
        github_url=session.github_url,
        claude_url=session.claude_url,
    )
    present = read_text(path)
    if present == text:
        print_line(f"{path} is up to date")
        return True
    if present is not None:
        copy = free_copy_name(path)
        can_ask = session.terminal.is_present or session.yes
        if not can_ask or not session.confirm(f"{path} exists. Replace it? A copy is kept as {copy.name}."):
            print_line(f"{path} is unchanged. It must contain:")
            print_lines(text.rstrip("\n"))
            return False
        write_file(copy, present)
    write_file(path, text, mode=SETTINGS_MODE)
    print_line(f"Written: {path}")
    return True


def _remaining_steps(
    session: Session, connection: Connection, has_claude_key: bool, connected: Set[str]
) -> Iterator[str]:
    """Yield the steps for the user; further lines of a step are indented. `connected` have their webhook already."""
    hls, config, app_page = find_hls_command(), session.config, connection.app_page
    option = f" --config {config}" if config is not None else ""
    dotenv, url = DOTENV.absolute(), connection.webhook_url
    if not has_claude_key:
        yield f"Add the line {KEY_VARIABLE}=... to {dotenv}."
    if app_page is not None and not connection.is_installed:
        yield f"Install the App on your repositories: {app_page}/installations"
    yield f"Check settings, prompts and credentials: {hls} check{option}"
    for name in connection.repositories if app_page is None else ():
        if name not in connected:
            owner = name.partition("/")[0]
            page = f"organizations/{owner}" if "*" in name.partition("/")[2] else name
            yield (
                f"Create the webhook: {web_url(session.github_url)}/{page}/settings/hooks/new\n"
                f"     Payload URL: {url}   Content type: application/json\n"
                f"     Secret: the value of {WEBHOOK_SECRET} in {dotenv}\n"
                f"     Events: {', '.join(EVENTS)}"
            )
    if url == UNSERVED_URL:
        reader = "" if app_page is not None else FOR_OTHER_TOKENS
        yield f"Receive events, without a public address: {hls} listen{option}{reader}"
    else:
        addresses = " and ".join(filter(None, (url, find_about_url(url))))
        forward = f"A proxy with TLS forwards {addresses} to it (docs/setup.md)."
        yield f"Receive events: {hls} serve{option}\n     {forward}"
    yield (
        f"Open the console, whose address it prints. The key is the value of {API_KEY} in {dotenv}\n"
        '     From other machines, through a proxy with TLS: docs/setup.md, "Behind a proxy".'
    )
    first = next((name for name in connection.repositories if "*" not in name), None)
    where = f"Open an issue in {first or 'one of the repositories'}, and see what HLS does"
    yield f"{where}: {hls} why {first or 'OWNER/REPO'}#1{option}"
    if url == UNSERVED_URL:
        where = "in each webhook" if app_page is None else f"at {app_page}"
        yield f"Later, with a public address: enter it as the webhook URL {where}, and use {hls} serve{option}."
