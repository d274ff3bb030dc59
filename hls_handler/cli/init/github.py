"""The account of HLS on GitHub: create and install a GitHub App, or check a token and create its
webhooks.
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

from pydantic import SecretStr

from hls_handler.cli.init.servers import HOST, AppPage, local_server
from hls_handler.cli.init.session import (
    Session,
    parse_repositories,
    read_text,
    read_variables,
    write_file,
)
from hls_handler.cli.options import DOTENV, http_origin, utc_now
from hls_handler.cli.terminal import print_line
from hls_handler.deliveries import DeliveryAttempt
from hls_handler.errors import (
    DependencyDown,
    Permanent,
    SettingsError,
    StepFailed,
    with_remedy,
)
from hls_handler.github.api import GithubApi
from hls_handler.github.app_setup import (
    EVENTS,
    connect_app,
    convert_code,
    fetch_webhook_url,
    installation_url,
    list_repositories,
    make_manifest,
    new_app_url,
)
from hls_handler.github.client import ReadOnlyGithub, connect_read_only
from hls_handler.github.credentials import App
from hls_handler.github.webhook_setup import UNSERVED_URL, WebhookSetup
from hls_handler.settings.model import GithubSettings, Server
from hls_handler.settings.values import AppKey, InvalidAppKey, find_credential_problem, web_url

POLL_S = 3.0
CODE_LIFETIME_S = 3600.0
APP_ID = "GITHUB_APP_ID"
WEBHOOK_SECRET = "GITHUB_WEBHOOK_SECRET"  # noqa: S105
TOKEN = "GITHUB_TOKEN"  # noqa: S105 (the name of a variable)
LEADER = '<meta http-equiv="refresh" content="0; url={url}">\n<a href="{url}">Continue</a>\n'


# --- GitHub App ----------------------------------------------------------------------------------


def set_up_app(session: Session) -> App:
    """Create the App, or continue where an earlier `hls init` ended. Return it.

    Raises `SettingsError`, or an error of `github/` if GitHub fails; a later run continues.
    """
    app = find_app(session)
    is_new = app is None
    if app is None:
        _create(session)
        app = find_app(session)
    assert app is not None
    account = app.fetch()
    page = account.settings_url(web_url(session.github_url))
    print_line(
        f"GitHub App: {account.slug} (id {app.id}) of {account.owner.login}; its key is in"
        f" {session.key_path}"
    )
    webhook_url = fetch_webhook_url(app)
    if session.webhook_url not in (None, webhook_url):
        print_line(f"The App's webhook URL is {webhook_url}; change it at {page}")
    session.webhook_url = webhook_url
    installed = _wait_for_installation(
        session, app, installation_url(account.html_url), opened=is_new
    )
    session.repositories = session.repositories or installed
    print_line(f"Repositories: {', '.join(session.repositories)}")
    return app


def find_app(session: Session) -> App | None:
    """Return the App of `.env` and the key file; None if neither has one. Raises `SettingsError`
    for half of one.
    """
    app_id = read_variables().get(APP_ID)
    pem = read_text(session.key_path)
    key = session.key_path.absolute()
    if app_id is None and pem is None:
        return None
    missing = f"{DOTENV} has no {APP_ID} that is a number"
    if pem is None:
        missing = f"there is no {key}"
    if pem is None or app_id is None or not (app_id.isascii() and app_id.isdigit()):
        page = f"{web_url(session.github_url)}/settings/apps"
        remedy = f"the App's page ({page}) has both; or remove the other one to create an App"
        raise SettingsError([f"half of an App is stored, and {missing}: {remedy}"])
    try:
        return connect_app(session.github_url, int(app_id), AppKey(pem), now=utc_now)
    except InvalidAppKey as exc:
        raise SettingsError([f"{key}: {exc}"]) from None


def _create(session: Session) -> None:
    """Let the user confirm the App on GitHub, and store its secrets."""
    web = web_url(session.github_url)
    organization = session.organization or None
    homepage = web
    if organization:
        homepage = f"{web}/{organization}"
    page = AppPage(partial(_store_app, session))
    # every user can read a browser's arguments, but not this file
    leader = session.key_path.with_suffix(".html")
    try:
        with local_server(HOST, 0, page.respond) as port:
            origin = http_origin(HOST, port)
            manifest = make_manifest(
                name=session.name or "",
                homepage=homepage,
                redirect_url=f"{origin}/code",
                webhook_url=session.webhook_url or UNSERVED_URL,
            )
            page.show(
                manifest, action=new_app_url(session.github_url, organization, state=page.state)
            )
            url = f"{origin}/{page.state}"
            write_file(leader, LEADER.format(url=html.escape(url)))
            print_line(
                "Create the App: confirm it on GitHub. If no browser opens, open this address:"
            )
            print_line(f"  {url}")
            print_line(
                f"  (browser on another machine: first run ssh -L {port}:{HOST}:{port} HOST there)"
            )
            session.open_browser(leader.absolute().as_uri())
            page.ended.wait(CODE_LIFETIME_S)
    finally:
        leader.unlink(missing_ok=True)
    if page.problem is not None:
        raise page.problem
    if not page.ended.is_set():
        raise SettingsError(["GitHub sent no answer within an hour; start `hls init` again"])


def _store_app(session: Session, code: str) -> str:
    """Exchange the code, store the App's secrets, and return the page that installs the App."""
    try:
        app = convert_code(session.github_url, code, now=utc_now)
    except (Permanent, DependencyDown) as exc:
        remedy = (
            f"delete the App at {web_url(session.github_url)}/settings/apps, then start `hls init`"
            " again"
        )
        raise Permanent(f"{with_remedy(exc)}; {remedy}") from None
    write_file(session.key_path, app.pem)
    session.store({APP_ID: str(app.id), WEBHOOK_SECRET: app.webhook_secret})
    return installation_url(app.html_url)


def _wait_for_installation(
    session: Session, app: App, url: str, *, opened: bool
) -> tuple[str, ...]:
    """Return the repositories on which the App is installed, at least one."""
    reported = ""
    while True:
        try:
            repositories = list_repositories(app)
            if repositories:
                return repositories
            missing = (
                f"Install the App on your repositories, in the browser or at {url}; waiting for it"
            )
        except DependencyDown as exc:  # the App exists: wait for the end of the outage
            missing = f"{exc}; {exc.remedy}"
        if missing != reported:
            reported = missing
            print_line(missing)
        if not opened:
            opened = True
            session.open_browser(url)
        session.sleep(POLL_S)


# --- token ---------------------------------------------------------------------------------------


def set_up_token(session: Session) -> None:
    """Check the token, print what it lacks, and store it.

    Raises `SettingsError` if a repository does not exist, and an error of `github/` if GitHub
    rejects the token or fails.
    """
    question = "Token (not shown; docs/setup.md says which kind fits)"
    token = session.variable(TOKEN)
    token = token or session.ask(
        question, None, str, option=f"the variable {TOKEN}", is_hidden=True
    )
    require_credential("the token", token)
    with closing(connect_read_only(_token_section(session, token), now=utc_now)) as github:
        account = github.fetch_bot_account()
        print_line(f"GitHub: the token belongs to {account.login} ({account.type})")
        question = "Repositories, separated by commas, such as owner/repo"
        session.repositories = _require_known(github, session.repositories) or session.ask(
            question,
            None,
            lambda text: _require_known(github, parse_repositories(text)),
            option="--repository OWNER/REPO",
        )
        for name in session.repositories:
            if "*" not in name:
                for sentence in github.find_missing_permissions(name, with_webhooks=True):
                    print_line(f"  {sentence}")
    session.store(
        {TOKEN: token, WEBHOOK_SECRET: session.variable(WEBHOOK_SECRET) or secrets.token_hex(32)}
    )


def _require_known(github: ReadOnlyGithub, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names. Raises `SettingsError` for repositories that the token may not read."""
    remedy = "check the name, and for which repositories the token was created"
    problems = [
        f"{name}: GitHub has no such repository, or the token may not read it; {remedy}"
        for name in names
        if "*" not in name and not github.has_repository(name)
    ]
    if problems:
        raise SettingsError(problems)
    return tuple(names)


def require_credential(noun: str, secret: str) -> None:
    problem = find_credential_problem(SecretStr(secret))
    if problem is not None:
        raise SettingsError([f"{noun} {problem}"])


def _token_section(session: Session, token: str) -> GithubSettings:
    unused = SecretStr(secrets.token_hex())
    return GithubSettings(
        token=SecretStr(token), webhook_secret=unused, base_url=session.github_url
    )


# --- webhooks ------------------------------------------------------------------------------------


def connect_webhooks(session: Session, app: App | None, server: Server) -> list[str]:
    """Let GitHub ping the App's webhook; with a token, create or update the webhooks, and ping the
    first.

    Return the repositories whose webhook a token created. That of "owner/*" is the organisation's.
    """
    if app is not None:
        with closing(app.connect()) as api:
            _prove_webhook(
                session,
                partial(WebhookSetup(api, "/app").redeliver_ping, sleep=session.sleep),
                server,
            )
        return []
    section = _token_section(session, session.variable(TOKEN))
    secret = read_variables()[WEBHOOK_SECRET]
    url = session.webhook_url or UNSERVED_URL
    connected: list[str] = []
    with closing(GithubApi(section, now=utc_now)) as api:
        for name in session.repositories:
            path = f"/repos/{name}"
            if "*" in name:
                path = f"/orgs/{name.partition('/')[0]}"
            setup = WebhookSetup(api, path)
            try:
                hook = setup.ensure(url, secret, EVENTS)
            except StepFailed as exc:
                print_line(f"The webhook of {name} was not created: {exc}")
                continue
            print_line(f"Webhook of {name}: {hook.change}, it sends to {url}")
            if not connected:
                _prove_webhook(session, partial(setup.ping, hook.id, sleep=session.sleep), server)
            connected.append(name)
    return connected


def _prove_webhook(
    session: Session, ping: Callable[[], DeliveryAttempt | None], server: Server
) -> None:
    """Let GitHub ping the webhook, and print whether the ping arrived at the service's address."""
    url = session.webhook_url
    if url == UNSERVED_URL:
        return
    try:
        attempt = ping()
    except StepFailed as exc:
        print_line(f"The webhook was not tried: {exc}")
        return
    if attempt is None:
        print_line(
            "GitHub lists no attempt to send its ping yet; start `hls init` again to try once more"
        )
    elif attempt.is_received:
        print_line(f"GitHub's ping arrived: {url} answered {attempt.status_code}")
    else:
        print_line(
            f"GitHub's ping did not arrive: {url} answered {attempt.status_code}. A proxy must"
            f" forward it to {http_origin(server.host, server.port)} (401: restart the service"
            " there, which has another secret); then start `hls init` again: it changes nothing"
            " and pings once more"
        )
