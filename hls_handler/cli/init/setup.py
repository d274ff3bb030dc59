"""The steps of `hls init`: ask, connect GitHub and Claude, write the settings, and prove that both work."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Set
from functools import partial
from typing import Literal

from pydantic import SecretStr

from hls_handler.analysis import REPLY_TYPES, ValidReply
from hls_handler.cli.demo import KEY_VARIABLE, find_hls_command
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
from hls_handler.settings.model import Claude
from hls_handler.settings.values import web_url
from hls_handler.wording import format_usd

API_KEY = "HLS_API_KEY"
QUESTION = "This is the first question of a new service. Reply with worth_saying false and a summary of one word."
REPLY = "generic_analysis"
ACCOUNT_QUESTION = (
    "How does HLS sign in to GitHub? app: a GitHub App, two clicks and an identity of its own; token: of an account "
    "that has one"
)

KEY_OPTION = f"--claude-key-file FILE, or the variable {KEY_VARIABLE}"

Account = Literal["app", "token"]


def run(session: Session) -> None:
    """Raises `SettingsError` for usage errors and unusable files, and other errors of GitHub and Claude."""
    _require_options(session)
    account = _choose_account(session)
    if not session.claude_key_file and not session.variables().get(KEY_VARIABLE, "").strip():
        session.terminal.require(KEY_OPTION)  # before an App is created
    require_writable(session.settings_path)
    require_writable(DOTENV)
    connection = set_up_app(session) if account == "app" else set_up_token(session)
    has_key = _set_up_claude(session)
    session.store({API_KEY: session.variables().get(API_KEY) or secrets.token_hex(32)})
    is_written = _write_settings(session, connection)
    for name, value in read_variables(DOTENV).items():
        if name in (APP_ID, WEBHOOK_SECRET, TOKEN, KEY_VARIABLE) and session.environ.get(name, value) != value:
            print_line(f"The environment has another {name}, which takes precedence over {DOTENV}: unset it")
    settings = load_settings(session.settings_path, session.environ, dotenv=DOTENV, allow_unset=True)
    connected: Set[str] = frozenset()
    with answer_pings(settings):
        if connection.app is not None:
            ping = partial(connection.app.redeliver_ping, sleep=session.sleep)
            prove_webhook(ping, connection.webhook_url, settings.server)
        elif is_written:
            connected = connect_webhooks(session, connection, settings.server)
    print_lines("\nNext steps:")
    for number, step in enumerate(_remaining_steps(session, connection, has_key, connected), start=1):
        print_lines(f"  {number}. {step}")
    if not is_written:
        raise SettingsError(
            [f"{session.settings_path.absolute()} was not replaced; --yes replaces it and keeps a copy"]
        )


def _require_options(session: Session) -> None:
    if session.token_file is not None and (session.app or session.name or session.organization):
        raise SettingsError(["--app, --name and --organization exclude --token-file"])
    if session.token_file == session.claude_key_file == STANDARD_INPUT:
        raise SettingsError(["only one of --token-file and --claude-key-file can be -"])


def _choose_account(session: Session) -> Account:
    if session.token_file is not None:
        return "token"
    if session.app or app_exists(session):
        return "app"
    if TOKEN in session.variables() and not session.terminal.is_present:
        return "token"
    option = f"--app, --token-file FILE, or the variable {TOKEN}"
    return session.terminal.ask_valid(ACCOUNT_QUESTION, "app", _parse_account, option=option)


def _parse_account(answer: str) -> Account:
    match answer:
        case "app" | "token":
            return answer
    raise SettingsError([f"{answer}: expected app or token"])


# --- Claude ------------------------------------------------------------------------------------------------------


def _set_up_claude(session: Session) -> bool:
    """Check and store the key. Returns False if the user has none yet."""

    def check(key: str) -> str:
        if key:
            _prove_claude(session, key)
        return key

    key = check(session.find_secret(session.claude_key_file, KEY_VARIABLE)) or session.terminal.ask_valid(
        "Key of the Claude API (not shown; Enter: add it later)",
        "",
        check,
        option=KEY_OPTION,
        is_hidden=True,
    )
    if key:
        session.store({KEY_VARIABLE: key})
    return bool(key)


def _prove_claude(session: Session, key: str) -> None:
    """Ask Claude one question, and print whether the reply is valid. Raises `HlsError` for a key that is not."""
    require_header_text("the key of Claude", key)
    model = REPLY_TYPES[REPLY]
    prompt = Prompt("init", id="the question of hls init", path="", on=(), reply=REPLY, reply_model=model)
    try:
        with connect_claude(Claude(api_key=SecretStr(key), base_url=session.claude_url)) as claude:
            answer = claude.ask(RenderedPrompt(prompt, "", QUESTION, model.model_json_schema()))
    except HlsError as exc:
        if isinstance(exc, DependencyDown) and exc.remedy == KEY_REMEDY:
            remedy = "create one at https://platform.claude.com"
            raise DependencyDown("Claude rejected the key (401)", dependency="claude", remedy=remedy) from None
        print_line(f"Claude did not answer: {with_remedy(exc)}")
        return
    if isinstance(answer, ValidReply):
        print_line(f"Claude answered a question with {answer.usage.model}, for {format_usd(answer.usage.cost_usd)}")
    else:
        print_line(f"Claude's reply cannot be used: {answer.problem}")


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
    hls, app_page, url = find_hls_command(), connection.app_page, connection.webhook_url
    option = f" --config {session.config}" if session.config is not None else ""
    dotenv, is_served = DOTENV.absolute(), connection.webhook_url != UNSERVED_URL
    if not has_claude_key:
        yield f"Add the line {KEY_VARIABLE}=... to {dotenv}."
    if app_page is not None and not connection.is_installed:
        yield f"Install the App on your repositories: {app_page}/installations"
    yield f"Check settings, prompts and credentials: {hls} check{option}"
    for name in connection.repositories if app_page is None else ():
        if name not in connected:
            owner, _, repository = name.partition("/")
            page = f"organizations/{owner}" if "*" in repository else name
            yield (
                f"Create the webhook: {web_url(session.github_url)}/{page}/settings/hooks/new\n"
                f"     Payload URL: {url}   Content type: application/json\n"
                f"     Secret: the value of {WEBHOOK_SECRET} in {dotenv}\n"
                f"     Events: {', '.join(EVENTS)}"
            )
    if is_served:
        addresses = " and ".join(filter(None, (url, find_about_url(url))))
        forward = f"A proxy with TLS forwards {addresses} to it (docs/setup.md)."
        yield f"Receive events: {hls} serve{option}\n     {forward}"
    else:
        where = "in each webhook" if app_page is None else f"at {app_page}"
        yield (
            f"Receive events, without a public address: {hls} listen{option}\n"
            f"     Later, with a public address: enter it as the webhook URL {where}, and use {hls} serve{option}."
        )
    yield f"Open the console, whose address it prints. The key is the value of {API_KEY} in {dotenv}"
    first = next((name for name in connection.repositories if "*" not in name), "OWNER/REPO")
    yield f"Open an issue there, and see what HLS does: {hls} why {first}#1{option}"
