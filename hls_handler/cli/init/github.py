"""The account of HLS on GitHub: create and install a GitHub App, or check a token and create its webhooks."""

from __future__ import annotations

import html
import json
import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from pydantic import SecretStr, ValidationError

from hls_handler.cli.init.files import (
    ALL_REPOSITORIES,
    free_copy_name,
    read_text,
    read_variables,
    set_variables,
    write_file,
)
from hls_handler.cli.init.servers import AppPage
from hls_handler.cli.init.session import Session, check_name, parse_repositories
from hls_handler.cli.options import DOTENV, http_origin, print_line
from hls_handler.clients.api import GithubApi
from hls_handler.clients.app_setup import (
    EVENTS,
    MAX_NAME_CHARS,
    AppClient,
    CreatedApp,
    convert_code,
    installation_url,
    make_manifest,
    new_app_url,
)
from hls_handler.clients.credentials import Owner
from hls_handler.clients.github import ReadOnlyGithub, connect_read_only
from hls_handler.clients.webhook_setup import UNSERVED_URL, WebhookSetup
from hls_handler.deliveries import DeliveryAttempt
from hls_handler.errors import DependencyDown, Permanent, SettingsError, StepFailed
from hls_handler.settings.app_key import AppKey, InvalidAppKey
from hls_handler.settings.model import Github, Server
from hls_handler.settings.values import web_url

POLL_S = 3.0
CODE_LIFETIME_S = 3600.0
APP_ID, WEBHOOK_SECRET = "GITHUB_APP_ID", "GITHUB_WEBHOOK_SECRET"
TOKEN = "GITHUB_TOKEN"  # noqa: S105 (the name of a variable)
LEADER = '<meta http-equiv="refresh" content="0; url={url}">\n<a href="{url}">Continue</a>\n'
SEPARATED = "Repositories, separated by commas, such as owner/repo"


@dataclass(frozen=True, slots=True)
class Connection:
    """The App or token that HLS uses, and what it is used for."""

    repositories: tuple[str, ...]  # ("owner/repo", "other/*"), as in the settings
    webhook_url: str  # `UNSERVED_URL` if there is no public address
    app: AppClient | None = None  # None: a token
    app_page: str | None = None  # on which its owner changes the App
    is_installed: bool = False


# --- GitHub App --------------------------------------------------------------------------------------------------


def app_exists(session: Session) -> bool:
    """Return True if an App is stored, or a code for one. Raises `SettingsError` if only a part of it is there."""
    return _read_pending(session) is not None or _find_stored(session) is not None


def set_up_app(session: Session) -> Connection:
    """Create the App, or continue where an earlier `hls init` ended.

    Raises `SettingsError`, or an error of `clients/` if GitHub fails; a later run continues.
    """
    pending = _read_pending(session)
    is_created = pending is None and _find_stored(session) is None
    if is_created:
        _create(session)
    elif isinstance(pending, str):
        print_line("Continuing: GitHub confirmed an App before the last `hls init` ended.")
        _exchange(session, pending)
    elif pending is not None:
        _store(session, pending)
    client = _find_stored(session)
    assert client is not None
    try:
        app = client.fetch_app()
    except Permanent as exc:
        files = f"remove {APP_ID} from {DOTENV} and delete {session.key_path.absolute()}"
        raise Permanent(f"{exc}; if the App was deleted, {files}, then start `hls init` again") from None
    page = app.settings_url(web_url(session.github_url))
    print_line(f"GitHub App: {app.slug} (id {app.id}) of {app.owner.login}; its private key is in {session.key_path}")
    webhook_url = client.fetch_webhook_url()
    if session.webhook_url not in (None, webhook_url):
        print_line(f"The App's webhook URL is {webhook_url}; change it at {page}")
    installed = _wait_for_installation(session, client, installation_url(app.html_url), opened=is_created)
    checked = [name for name in session.repositories if installed and "*" not in name]
    if missing := [name for name in checked if not client.is_installed_on(name)]:
        remedy = f"check the name, or add it on {page}/installations, then start `hls init` again"
        raise SettingsError([f"{name}: the App is not installed there; {remedy}" for name in missing])
    repositories = session.repositories or installed or (ALL_REPOSITORIES,)
    if len(repositories) > 1 and repositories is installed and session.terminal.is_present and not session.yes:
        repositories = session.terminal.ask_valid(
            SEPARATED, ", ".join(installed), parse_repositories, option="--repository OWNER/REPO"
        )
    print_line(f"Repositories: {', '.join(repositories)}")
    return Connection(repositories, webhook_url, client, page, is_installed=bool(installed))


def _read_pending(session: Session) -> str | CreatedApp | None:
    """Return a code to exchange or an App to store, after an interruption; None if there was none."""
    text = read_text(session.pending_path)
    if text is None:
        return None
    try:
        document = json.loads(text)
        return document["code"] if "code" in document else CreatedApp.model_validate(document)
    except (ValueError, TypeError, ValidationError):
        problem = f"{session.pending_path.absolute()}: damaged; delete the file, and the App on GitHub if it exists"
    raise SettingsError([problem])  # outside of `except`, because the error may contain secrets


def _find_stored(session: Session) -> AppClient | None:
    """Return the App of `.env` and the key file; None if neither has one. Raises `SettingsError` for half of one."""
    app_id, pem, key = read_variables(DOTENV).get(APP_ID), read_text(session.key_path), session.key_path.absolute()
    if app_id is None and pem is None:
        return None
    missing = f"there is no {key}" if pem is None else f"{DOTENV} has no {APP_ID} that is a number"
    if pem is None or app_id is None or not (app_id.isascii() and app_id.isdigit()):
        page = f"{web_url(session.github_url)}/settings/apps"
        remedy = f"the App's page ({page}) has both; or remove the other one to create an App"
        raise SettingsError([f"half of an App is stored, and {missing}: {remedy}"])
    try:
        return AppClient(session.github_url, int(app_id), AppKey(pem), now=session.now)
    except InvalidAppKey as exc:
        raise SettingsError([f"{key}: {exc}"]) from None


def _create(session: Session) -> None:
    if WEBHOOK_SECRET in read_variables(DOTENV) and not session.confirm(
        f"{DOTENV} has a {WEBHOOK_SECRET}, and GitHub generates one for the App. Replace it? "
        "The present line is kept as a comment."
    ):
        raise SettingsError([f"nothing was changed: remove {WEBHOOK_SECRET} from {DOTENV}, then start again"])
    with closing(connect_read_only(_github_section(session, "none"), now=session.now, anonymous=True)) as github:
        _require_known(github, session.repositories)
        organization = _ask_organization(session, github)
    default = f"hls-{organization}"[:MAX_NAME_CHARS] if organization else None
    name = session.name or session.terminal.ask_valid(
        "Name of the App, unique on GitHub", default, check_name, option="--name NAME"
    )
    webhook_url = session.ask_webhook_url()
    web = web_url(session.github_url)
    page = AppPage(port=session.port, exchange=partial(_exchange, session))
    manifest = make_manifest(
        name=name,
        homepage=f"{web}/{organization}" if organization else web,
        redirect_url=f"{page.origin}/code",
        webhook_url=webhook_url,
    )
    with page.running(manifest, action=new_app_url(session.github_url, organization, state=page.state)):
        leader = session.key_path.with_suffix(".html")  # every user can read a browser's arguments, but not this file
        write_file(leader, LEADER.format(url=html.escape(page.url)))
        try:
            print_line("Create the App: confirm it on GitHub. If no browser opens, open this address:")
            print_line(f"  {page.url}")
            tunnel = f"ssh -L {page.server_port}:127.0.0.1:{page.server_port} HOST"
            print_line(f"  (browser on another machine: first run {tunnel} there)")
            session.open_browser(leader.absolute().as_uri())
            is_ended = page.ended.wait(CODE_LIFETIME_S)
        finally:
            leader.unlink(missing_ok=True)
    if page.problem is not None:
        raise page.problem
    if not is_ended:
        raise SettingsError(["GitHub sent no answer within an hour; start `hls init` again"])


def _ask_organization(session: Session, github: ReadOnlyGithub) -> str | None:
    def check(login: str) -> str | None:
        _require_known(github, [login] if login else [], needs_organization=True)
        return login or None

    if session.organization is not None or not session.terminal.is_present:
        return check(session.organization or "")
    question = "Organisation that owns the App (Enter: your own account)"
    return session.terminal.ask_valid(question, "", check, option="--organization LOGIN")


def _exchange(session: Session, code: str) -> str:
    """Store the App of a code, and return the page that installs the App."""
    write_file(session.pending_path, json.dumps({"code": code}))
    try:
        app = convert_code(session.github_url, code, now=session.now)
    except Permanent as exc:
        session.pending_path.unlink(missing_ok=True)
        remedy = f"if the App is listed at {web_url(session.github_url)}/settings/apps, delete it there first"
        raise Permanent(f"{exc}; start `hls init` again; {remedy}") from None
    except DependencyDown as exc:
        remedy = f"{exc.remedy}. The App is created, and its code is stored: start `hls init` again within an hour"
        raise DependencyDown(str(exc), dependency="github", remedy=remedy) from None
    _store(session, app)
    return installation_url(app.html_url)


def _store(session: Session, app: CreatedApp) -> None:
    """Store the App's secrets. After an interruption at any point, `_read_pending` returns the App again."""
    write_file(session.pending_path, app.model_dump_json())
    present = read_text(session.key_path)
    if present not in (None, app.pem):  # the key of another App, which the user put there meanwhile
        write_file(free_copy_name(session.key_path), present)
    write_file(session.key_path, app.pem)
    set_variables(DOTENV, {APP_ID: str(app.id), WEBHOOK_SECRET: app.webhook_secret})
    session.pending_path.unlink(missing_ok=True)
    print_line(f"Stored in {DOTENV}: {APP_ID}, {WEBHOOK_SECRET}")


def _wait_for_installation(session: Session, client: AppClient, url: str, *, opened: bool) -> tuple[str, ...]:
    """Return the repositories on which the App is installed; () if the user does not wait."""
    said, waiting = "", "; waiting for it (Enter: continue without)" if session.wait else ""
    while True:
        try:
            if repositories := client.list_repositories():
                return repositories
            missing = f"Install the App on your repositories, in the browser or at {url}{waiting}"
        except DependencyDown as exc:  # the App exists: wait for the end of the outage
            missing = f"{exc}; {exc.remedy}"
        if missing != said:
            said = missing
            print_line(missing)
        if not session.wait:
            return ()
        if not opened:
            opened = True
            session.open_browser(url)
        if session.terminal.wait_for_enter(POLL_S):
            return ()


# --- token -------------------------------------------------------------------------------------------------------


def set_up_token(session: Session) -> Connection:
    """Check the token, print what it lacks, and store it.

    Raises `SettingsError` if a repository does not exist, and an error of `clients/` if GitHub rejects the token or
    fails.
    """
    webhook_url = session.ask_webhook_url()
    token = session.find_secret(session.token_file, TOKEN) or session.terminal.ask_valid(
        "Token (not shown; docs/setup.md says which kind fits)", None, str, option="--token-file FILE", is_hidden=True
    )
    require_header_text("the token", token)
    with closing(connect_read_only(_github_section(session, token), now=session.now)) as github:
        account = github.fetch_bot_account()
        print_line(f"GitHub: the token belongs to {account.login} ({account.type})")

        check = partial(_require_known, github, has_token=True, needs_organization=True)
        repositories = check(session.repositories) or session.terminal.ask_valid(
            SEPARATED, None, lambda text: check(parse_repositories(text)), option="--repository OWNER/REPO"
        )
        for name in repositories:
            missing = [] if "*" in name else github.find_missing_permissions(name, with_webhooks=True)
            for sentence in missing:
                print_line(f"  {sentence}")
    session.store({TOKEN: token, WEBHOOK_SECRET: session.variables().get(WEBHOOK_SECRET) or secrets.token_hex(32)})
    return Connection(repositories, webhook_url)


def connect_webhooks(session: Session, connection: Connection, server: Server) -> frozenset[str]:
    """Create or update the webhooks, let GitHub ping the first one, and return the repositories that have one.

    The webhook of "owner/*" is that of the organisation.
    """
    token, secret = session.variables()[TOKEN], read_variables(DOTENV)[WEBHOOK_SECRET]
    connected: list[str] = []
    with closing(GithubApi(_github_section(session, token), now=session.now)) as api:
        for name in connection.repositories:
            setup = WebhookSetup(api, f"/orgs/{name.partition('/')[0]}" if "*" in name else f"/repos/{name}")
            try:
                hook, action = setup.ensure(connection.webhook_url, secret, EVENTS)
            except StepFailed as exc:
                print_line(f"The webhook of {name} was not created: {exc}")
                continue
            print_line(f"Webhook of {name}: {action}, it sends to {connection.webhook_url}")
            if not connected:
                prove_webhook(partial(setup.ping, hook.id, sleep=session.sleep), connection.webhook_url, server)
            connected.append(name)
    return frozenset(connected)


def prove_webhook(ping: Callable[[], DeliveryAttempt | None], url: str, server: Server) -> None:
    """Let GitHub ping the webhook, and print whether the ping arrived at the service's address."""
    try:
        attempt = ping()
    except StepFailed as exc:
        print_line(f"The webhook was not tried: {exc}")
        return
    if attempt is None:
        print_line("GitHub lists no attempt to send its ping yet; start `hls init` again to try once more")
    elif url == UNSERVED_URL:
        print_line("GitHub keeps a ping for `hls listen`, which fetches events from its list")
    elif attempt.is_received:
        print_line(f"GitHub's ping arrived: {url} answered {attempt.status_code}")
    else:
        print_line(
            f"GitHub's ping did not arrive: {url} answered {attempt.status_code}. A proxy must forward it to "
            f"{http_origin(server.host, server.port)} (401: restart the service there, which has another secret); "
            "then start `hls init` again: it changes nothing and pings once more"
        )


# --- names and credentials ---------------------------------------------------------------------------------------


def _require_known(
    github: ReadOnlyGithub, names: Sequence[str], *, has_token: bool = False, needs_organization: bool = False
) -> tuple[str, ...]:
    """Return the names. Raises `SettingsError` for repositories and accounts that GitHub or the token does not know.

    Without a token, only accounts are checked, as far as GitHub allows it. With `needs_organization`, those of "owner"
    and "owner/*" must be organisations.
    """
    problems: list[str] = []
    for name in names:
        login = name.partition("/")[0]
        try:
            if has_token and "*" not in name and not github.has_repository(name):
                remedy = "check the name, and for which repositories the token was created"
                problems.append(f"{name}: GitHub has no such repository, or the token may not read it; {remedy}")
            is_unchecked = "*" in login or (has_token and "*" not in name)
            owner = Owner(type="") if is_unchecked else github.find_account(login)
            if owner is None:
                problems.append(f"{name}: GitHub has no account {login}; check the name")
            elif owner.type == "User" and needs_organization:
                remedy = "name each repository" if "*" in name else "without an organisation, the App is your own"
                problems.append(f"{name}: {login} is a person's account, not an organisation; {remedy}")
        except (DependencyDown, Permanent) as exc:
            if has_token:
                raise
            print_line(f"{name} was not checked: {exc}")  # such as the limit of requests without a token
    if problems:
        raise SettingsError(problems)
    return tuple(names)


def require_header_text(noun: str, secret: str) -> None:
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise SettingsError([f"{noun} contains a character that is not allowed; copy it again"])


def _github_section(session: Session, token: str) -> Github:
    unused = SecretStr(secrets.token_hex())
    return Github(token=SecretStr(token), webhook_secret=unused, base_url=session.github_url)
