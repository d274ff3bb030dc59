"""`hls init`: from nothing to a settings file, with a GitHub App or a token."""

from __future__ import annotations

import json
import os
import secrets
import sys
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr

from hls_handler.analysis import REPLY_TYPES, Prompt, RenderedPrompt, Reply
from hls_handler.claude.provider import KEY_REMEDY
from hls_handler.claude.providers import connect_claude
from hls_handler.cli.init.github import (
    APP_ID,
    TOKEN,
    WEBHOOK_SECRET,
    connect_webhooks,
    find_app,
    require_credential,
    set_up_app,
    set_up_token,
)
from hls_handler.cli.init.servers import answer_pings
from hls_handler.cli.init.session import (
    DEFAULT_CLAUDE,
    DEFAULT_GITHUB,
    SETTINGS_MODE,
    Session,
    parse_app_name,
    parse_base_url,
    parse_github_url,
    parse_organization,
    parse_repositories,
    parse_review_model,
    parse_webhook_url,
    read_text,
    read_variables,
    write_file,
)
from hls_handler.cli.options import DOTENV, KEY_VARIABLE, find_hls_command
from hls_handler.cli.terminal import print_line, print_lines
from hls_handler.errors import DependencyDown, HlsError, SettingsError, with_remedy
from hls_handler.events import DEFAULT_EVENTS
from hls_handler.github.app_setup import EVENTS, MAX_NAME_CHARS
from hls_handler.github.webhook_setup import UNSERVED_URL
from hls_handler.reports.estimate import describe_prices, list_claude_models
from hls_handler.settings.load import load_settings
from hls_handler.settings.providers import HAIKU, ClaudeSettings
from hls_handler.settings.values import web_url
from hls_handler.untrusted.cleaning import escape_unprintable
from hls_handler.wording import format_usd

INTERRUPTED = 130
API_KEY = "HLS_API_KEY"
QUESTION = (
    "This is the first question of a new service. Reply with worth_saying false and a summary of"
    " one word."
)
REPLY = "generic_analysis"
ACCOUNT_QUESTION = (
    "How does HLS sign in to GitHub? app: a GitHub App, which is an account of its own, with two"
    " clicks; token: the token of an account"
)
WEBHOOK_QUESTION = (
    "Public address to which GitHub sends events, such as https://hls.example.com/webhook, or none:"
    " `hls listen` fetches them"
)
REVIEW_QUESTION = (
    f"Model for reviews of pull requests: haiku, sonnet or opus; all else uses {HAIKU}. Larger"
    " models did better in published comparisons"
)

HEADER = (
    "# Settings of HLS, written by `hls init`. config/settings.example.yaml and docs/settings.md"
    " describe all other keys.\n"
    "# ${NAME} is replaced from the environment, else from .env. Relative paths are relative to the"
    " folder in which HLS is\n"
    "# started. A running service applies changes of this file within a second. `hls check` reports"
    " mistakes with their line.\n"
    "server:"
)
CONSOLE_KEY = (
    '  api_key: "${HLS_API_KEY}"  # opens the console; /stats, /metrics and the API need it'
)
REPOSITORIES = (
    "repositories:  # the most specific matching entry applies; other repositories are ignored"
)
ACCOUNT = '  token: "${GITHUB_TOKEN}"  # reads and writes as the account of this token'
REVIEW_REASON = f"  # larger models did better in reviews (docs/cost.md); all else: {HAIKU}"
FAIL_ON = "  fail_on: high  # these and critical ones fail the check; to block a merge, require it"
APP = """\
  app:  # the GitHub App as which HLS reads and writes
    id: "${GITHUB_APP_ID}"
    private_key_path: """


def init(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="PATH",
            help="Default: $HLS_CONFIG, else config/settings.yaml.",
        ),
    ] = None,
    app: Annotated[bool, typer.Option("--app", help="Create a GitHub App (recommended).")] = False,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the App, unique on GitHub.", parser=parse_app_name
        ),
    ] = None,
    organization: Annotated[
        str | None,
        typer.Option(
            metavar="LOGIN",
            help="Organisation that owns the App. Default: you.",
            parser=parse_organization,
        ),
    ] = None,
    webhook_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL|none",
            help="Public address that GitHub sends events to.",
            parser=parse_webhook_url,
        ),
    ] = None,
    repository: Annotated[
        list[Any] | None,
        typer.Option(
            "--repository",
            "-r",
            metavar="OWNER/REPO",
            help="Process this repository; repeatable.",
            parser=parse_repositories,
        ),
    ] = None,
    github_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="GitHub's API. GitHub Enterprise: https://HOST/api/v3.",
            parser=parse_github_url,
        ),
    ] = DEFAULT_GITHUB,
    claude_url: Annotated[
        str, typer.Option(metavar="URL", help="Claude's API.", parser=parse_base_url)
    ] = DEFAULT_CLAUDE,
    review_model: Annotated[
        str | None,
        typer.Option(
            metavar="haiku|sonnet|opus",
            help=(
                "Model for reviews, of Claude's own API. Default without a terminal: that of all"
                " prompts."
            ),
            parser=parse_review_model,
        ),
    ] = None,
) -> None:
    """Create a GitHub App or use a token, and write the settings.

    Asks for everything that no option gives. Without a terminal, a missing option is an error, and
    GITHUB_TOKEN is used unless --app is given. GITHUB_TOKEN and ANTHROPIC_API_KEY are read from the
    environment and from .env. Secrets are stored in .env and config/github-app.pem, which only you
    can read; the settings refer to them. Nothing is replaced. After an interruption, start it
    again: it continues with the App that is stored.

    Asks Claude one question. With a token, also creates the webhooks, if the token may. At last,
    lets GitHub ping the webhook.
    """
    read_answer = _read_answer if sys.stdin.isatty() else None
    try:
        session = Session(
            os.environ,
            read_answer,
            _open_browser,
            config=config,
            app=app,
            name=name,
            organization=organization,
            webhook_url=webhook_url,
            repositories=tuple(name for names in repository or () for name in names),
            github_url=github_url,
            claude_url=claude_url,
            review_model=review_model,
        )
        run(session)
    except (KeyboardInterrupt, typer.Abort):
        print_line(
            "interrupted; what is stored stays, and `hls init` with the same options continues from"
            " there",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None


def _read_answer(question: str, default: str | None, is_hidden: bool) -> str:
    """Return a line; `default` for an empty one. Without a default, repeat the question."""
    printable = escape_unprintable(question)
    return str(
        typer.prompt(printable, default=default, show_default=bool(default), hide_input=is_hidden)
    ).strip()


def _open_browser(url: str) -> bool:
    """Open a graphical browser. Text browsers would take the terminal."""
    if sys.platform.startswith("linux") and not any(
        map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    ):
        return False
    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False


def run(session: Session) -> None:
    """Ask what no option gives; connect Claude and GitHub; write the settings; show that webhooks
    arrive.

    Raises `SettingsError` for usage errors and unusable files, and other errors of GitHub and
    Claude.
    """
    uses_app = _ask_for_account(session)
    has_key = _set_up_claude(session)
    _choose_review_model(session)
    session.store({API_KEY: session.variable(API_KEY) or secrets.token_hex(32)})
    app = None
    if uses_app:
        app = set_up_app(session)
    else:
        set_up_token(session)
    is_written = _write_settings(session, uses_app=uses_app)
    stored = read_variables()
    for name in (APP_ID, WEBHOOK_SECRET, TOKEN, KEY_VARIABLE):
        if name in stored and session.environ.get(name, stored[name]) != stored[name]:
            precedence = f"which takes precedence over {DOTENV}: unset it"
            print_line(f"The environment has another {name}, {precedence}")
    settings = load_settings(
        session.settings_path, session.environ, dotenv=DOTENV, allow_unset=True
    )
    with answer_pings(settings):
        connected = connect_webhooks(session, app, settings.server)
    print_lines("\nNext steps:")
    unconnected = [name for name in session.repositories if app is None and name not in connected]
    for number, step in enumerate(_remaining_steps(session, unconnected, has_key=has_key), start=1):
        print_lines(f"  {number}. {step}")
    if not is_written:
        raise SettingsError(
            [f"{session.settings_path.absolute()} is unchanged; rename it to get another one"]
        )


def _ask_for_account(session: Session) -> bool:
    """Ask what GitHub needs for an App or a token, except the token. Return True for an App."""
    has_app = find_app(session) is not None
    has_terminal = session.read_answer is not None
    uses_app = session.app or has_app
    if not uses_app and (has_terminal or not session.variable(TOKEN)):
        uses_app = session.ask(
            ACCOUNT_QUESTION, "app", _parse_account, option=f"--app, or the variable {TOKEN}"
        )
    if has_app:
        return True
    if uses_app:
        session.require_new([WEBHOOK_SECRET])  # GitHub generates one for the App
        if session.organization is None and has_terminal:
            question = "Organisation that owns the App (Enter: your own account)"
            option = "--organization LOGIN"
            session.organization = session.ask(question, "", parse_organization, option=option)
        default = None
        if session.organization:
            default = f"hls-{session.organization}"[:MAX_NAME_CHARS]
        question = "Name of the App, unique on GitHub"
        if not session.name:
            session.name = session.ask(question, default, parse_app_name, option="--name NAME")
    session.webhook_url = session.webhook_url or session.ask(
        WEBHOOK_QUESTION, "none", parse_webhook_url, option="--webhook-url URL, or none"
    )
    return uses_app


def _parse_account(answer: str) -> bool:
    if answer not in ("app", "token"):
        raise typer.BadParameter(f"{answer}: expected app or token")
    return answer == "app"


def _set_up_claude(session: Session) -> bool:
    """Check and store the key of Claude. Returns False if the user has none yet."""

    def check(key: str) -> str:
        if key:
            _prove_claude(session, key)
        return key

    question = "Key of the Claude API (not shown; Enter: add it later)"
    option = f"the variable {KEY_VARIABLE}"
    key = check(session.variable(KEY_VARIABLE)) or session.ask(
        question, "", check, option=option, is_hidden=True
    )
    if key:
        session.store({KEY_VARIABLE: key})
    return bool(key)


def _choose_review_model(session: Session) -> None:
    """Show what each model of Claude's own API costs, and ask on a terminal which one reviews.

    Without a terminal, only the option chooses one: a script must not begin to cost more.
    """
    claude = ClaudeSettings(api_key=SecretStr("unused"), base_url=session.claude_url)
    if not claude.is_claude_api:
        if session.review_model is not None:
            problem = (
                "--review-model is for Claude's own API; set claude.review_model in the settings"
            )
            raise SettingsError([problem])
        return
    print_lines("\n".join(describe_prices(list_claude_models(claude))))
    if session.review_model is None and session.read_answer is not None:
        option = "--review-model MODEL"
        session.review_model = session.ask(
            REVIEW_QUESTION, "sonnet", parse_review_model, option=option
        )


def _prove_claude(session: Session, key: str) -> None:
    """Ask Claude one question, and print whether the reply is valid. Raises `HlsError` for a key
    that is not.
    """
    require_credential("the key of Claude", key)
    model = REPLY_TYPES[REPLY]
    prompt = Prompt(
        "init", id="the question of hls init", path="", on=(), reply=REPLY, reply_model=model
    )
    settings = ClaudeSettings(api_key=SecretStr(key), base_url=session.claude_url)
    try:
        with connect_claude(settings) as claude:
            rendered = RenderedPrompt(prompt, "", QUESTION, model.model_json_schema())
            answer = claude.answer(rendered)
    except HlsError as exc:
        if isinstance(exc, DependencyDown) and exc.remedy == KEY_REMEDY:
            remedy = "create one at https://platform.claude.com"
            raise DependencyDown(
                "Claude rejected the key (401)", dependency="claude", remedy=remedy
            ) from None
        print_line(f"Claude did not answer: {with_remedy(exc)}")
        return
    if isinstance(answer, Reply):
        price = format_usd(answer.usage.cost_usd)
        print_line(f"Claude answered a question with {answer.usage.model}, for {price}")
    else:
        print_line(f"Claude's reply cannot be used: {answer.problem}")


def _write_settings(session: Session, *, uses_app: bool) -> bool:
    """Return False if there is a file with other content, which stays."""
    path = session.settings_path
    text = settings_text(session, uses_app=uses_app)
    present = read_text(path)
    if present == text:
        print_line(f"{path} is up to date")
        return True
    if present is not None:
        print_line(f"{path} has other content. It must contain:")
        print_lines(text.rstrip("\n"))
        return False
    write_file(path, text, mode=SETTINGS_MODE)
    print_line(f"Written: {path}")
    return True


def _remaining_steps(
    session: Session, unconnected: Sequence[str], *, has_key: bool
) -> Iterator[str]:
    """Yield the steps for the user; further lines of a step are indented. `unconnected` need a
    webhook.
    """
    hls = find_hls_command()
    url = session.webhook_url or UNSERVED_URL
    option = ""
    if session.config is not None:
        option = f" --config {session.config}"
    dotenv = DOTENV.absolute()
    if not has_key:
        yield f"Add the line {KEY_VARIABLE}=... to {dotenv}."
    yield f"Check settings, prompts and credentials: {hls} check{option}"
    for name in unconnected:
        page = name
        if "*" in name:
            page = f"organizations/{name.partition('/')[0]}"
        yield (
            f"Create the webhook: {web_url(session.github_url)}/{page}/settings/hooks/new\n"
            f"     Payload URL: {url}   Content type: application/json\n"
            f"     Secret: the value of {WEBHOOK_SECRET} in {dotenv}\n"
            f"     Events: {', '.join(EVENTS)}"
        )
    if url == UNSERVED_URL:
        yield f"Receive events, without a public address: {hls} listen{option}"
    else:
        yield (
            f"Receive events: {hls} serve{option}\n     A proxy with TLS forwards {url} to it"
            " (docs/setup.md)."
        )
    yield (
        f"Open the console, whose address it prints. The key is the value of {API_KEY} in {dotenv}"
    )
    first = next((name for name in session.repositories if "*" not in name), "OWNER/REPO")
    yield f"Open an issue in {first}, and see what HLS does: {hls} why {first}#1{option}"


def settings_text(session: Session, *, uses_app: bool) -> str:
    lines = [HEADER]
    webhook_path = urlsplit(session.webhook_url or UNSERVED_URL).path
    if webhook_path != "/webhook":
        lines.append(f"  webhook_path: {json.dumps(webhook_path)}  # GitHub posts to it")
    lines.append(CONSOLE_KEY)
    lines += ["", "github:"]
    if uses_app:
        lines.append(f"{APP}{json.dumps(str(session.key_path), ensure_ascii=False)}")
    else:
        lines.append(ACCOUNT)
    lines.append('  webhook_secret: "${GITHUB_WEBHOOK_SECRET}"')
    if session.github_url != DEFAULT_GITHUB:
        lines.append(f"  base_url: {json.dumps(session.github_url)}")
    lines += ["", "claude:", '  api_key: "${ANTHROPIC_API_KEY}"']
    if session.claude_url != DEFAULT_CLAUDE:
        lines.append(f"  base_url: {json.dumps(session.claude_url)}")
    if session.review_model not in (None, HAIKU):
        lines.append(f"  review_model: {session.review_model}{REVIEW_REASON}")
    lines += ["", "review:", FAIL_ON, "", REPOSITORIES]
    for name in session.repositories:
        lines.append(f"  - name: {json.dumps(name)}")
        lines.append(f"    events: [{', '.join(DEFAULT_EVENTS)}]  # more: issue_comment, release")
    return "\n".join(lines) + "\n"
