"""`hls init` against the sandbox: with a browser and a terminal, without a terminal, and after
interruptions.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hls_handler.cli import app
from hls_handler.cli.init.command import run as run_init
from hls_handler.cli.init.servers import answer_pings
from hls_handler.cli.init.session import Session
from hls_handler.errors import DependencyDown, Permanent, SettingsError
from hls_handler.github.app_setup import APP_EVENTS, EVENTS, PERMISSIONS
from hls_handler.settings.environment import read_environment
from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Settings
from hls_sandbox.apps import hook_of
from hls_sandbox.objects import Account
from tests.cli.browser import Browser
from tests.contracts.github import violations
from tests.e2e.service import free_port
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox
from tests.sandbox.conftest import seed_story

REPOSITORY = "Codertocat/Hello-World"
KEY = "sandbox-claude-key"
UNSERVED = "https://hls.invalid/webhook"
SERVED = "https://hls.example.com/webhook"


@dataclass
class FakeTerminal:
    """Replies questions by their beginning; a list has one answer for each time the question is
    asked.
    """

    answers: dict[str, str | list[str]] = field(default_factory=dict)

    def __call__(self, question: str, default: str | None, _is_hidden: bool) -> str:
        found = next(
            (answer for begin, answer in self.answers.items() if question.startswith(begin)),
            default,
        )
        assert found is not None, question
        return found.pop(0) if isinstance(found, list) else found


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        seed_story(running)
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current directory without files."""
    monkeypatch.chdir(tmp_path)
    for variable in ("HLS_CONFIG", "GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


Run = Callable[..., None]


@pytest.fixture
def run(sandbox: Sandbox, folder: Path) -> Run:
    """Return a function that runs `hls init`; keyword arguments are options."""

    def start(
        terminal: FakeTerminal | None = None,
        browser: Browser | None = None,
        *,
        environ: dict[str, str] | None = None,
        **options: object,
    ) -> None:
        urls = {"github_url": sandbox.github_url, "claude_url": sandbox.claude_url}
        given = {"sleep": lambda _seconds: None, **urls, **options}
        variables = environ if environ is not None else {"ANTHROPIC_API_KEY": KEY}
        opened = (browser or Browser()).open
        run_init(Session(variables, terminal, opened, **given))  # type: ignore[arg-type]

    return start


APP = {"app": True, "name": "my-hls", "webhook_url": UNSERVED}


def load_written(variables: dict[str, str] | None = None) -> Settings:
    return load_settings(Path("config/settings.yaml"), variables or {}, dotenv=Path(".env"))


def variables() -> dict[str, str]:
    return dict(read_environment({}, Path(".env")))


def test_questions_lead_to_an_app_and_settings_that_load(
    run: Run, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    browser = Browser()
    answers: dict[str, str | list[str]] = {
        "How": "app",
        "Organisation": ["my org!!", ""],
        "Name": ["a name of more than 34 characters  ", "my-hls"],
        "Key of": KEY,
    }
    run(FakeTerminal(answers), browser, environ={})
    settings = load_written()
    app = sandbox.state.world.apps["my-hls"]
    assert settings.github.app is not None
    assert settings.github.app.id == app.id
    assert [one.name for one in settings.repositories] == [REPOSITORY]
    assert settings.repositories[0].events == (
        "issues",
        "pull_request",
        "pull_request_review",
        "workflow_run",
    )
    assert settings.warnings == ()
    assert (app.permissions, set(app.events)) == (PERMISSIONS, set(APP_EVENTS))
    console_key = settings.server.api_key
    assert console_key is not None
    assert len(console_key.get_secret_value()) == 64
    assert variables() == {
        "GITHUB_APP_ID": str(app.id),
        "GITHUB_WEBHOOK_SECRET": app.webhook_secret,
        "ANTHROPIC_API_KEY": KEY,
        "HLS_API_KEY": console_key.get_secret_value(),
    }
    printed = capsys.readouterr()
    assert "hls listen" in printed.out
    for path in (".env", "config/github-app.pem"):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    key = Path("config/github-app.pem").read_text().splitlines()[1]
    for secret in (key, app.webhook_secret, variables()["HLS_API_KEY"], KEY):
        assert secret not in printed.out + printed.err
        assert all(secret not in page for page in browser.pages)
        assert secret not in Path("config/settings.yaml").read_text()


def test_options_replace_every_question(
    run: Run, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "https://hls.example.com/hooks/webhook"
    organization = Account(
        "Codertocat", sandbox.state.world.accounts["codertocat"].id, "Organization"
    )
    sandbox.state.change(lambda world: world.with_account(organization))
    run(**{**APP, "webhook_url": url}, organization="Codertocat", repositories=(REPOSITORY,))
    assert sandbox.state.world.apps["my-hls"].owner.type == "Organization"
    shown = capsys.readouterr().out
    assert f"A proxy with TLS forwards {url} to it" in shown
    assert (
        f"GitHub's ping did not arrive: {url} answered 502. A proxy must forward it to"
        " http://127.0.0.1:8000" in shown
    )
    assert "Claude answered a question with claude-haiku-5-5, for $0.0" in shown


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ([], "--app, or the variable GITHUB_TOKEN"),
        (["--app"], "--name NAME"),
        (["--app", "--name", "my-hls"], "--webhook-url URL, or none"),
        (["--app", "--name", "my-hls", "--webhook-url", "none"], "the variable ANTHROPIC_API_KEY"),
    ],
    ids=["account", "name", "address", "blank key"],
)
def test_missing_value_without_a_terminal_is_an_error_that_names_its_option(
    folder: Path, options: list[str], missing: str
) -> None:
    result = CliRunner().invoke(app, ["init", *options], env={"ANTHROPIC_API_KEY": " "})
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"there is no terminal to ask on; add {missing}\n"
    assert not any(path.is_file() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--webhook-url", "http://localhost:8000/webhook"], "expected a public address"),
        (["--webhook-url", "http://[x"], "expected a public address"),
        (["--repository", "octo"], "expected a repository such as owner/repo"),
        (["--organization", "my org!!"], "my org!!: expected the login of an organisation"),
        (["--organization", "my-org/repo"], "my-org/repo: expected the login of an organisation"),
        (["--organization", "-my-org"], "-my-org: expected the login of an organisation"),
        (["--organization", "o" * 40], "expected the login of an organisation"),
        (["--name", " "], "expected a name of 1 to 34 characters"),
        (["--name", "h" * 35], "expected a name of 1 to 34 characters"),
        (["--github-url", "http://ghe.example.com"], "http:// to"),
    ],
)
def test_bad_input_is_a_usage_error_and_changes_nothing(
    folder: Path, options: list[str], problem: str
) -> None:
    result = CliRunner().invoke(app, ["init", *options], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert problem in result.stderr
    assert list(folder.iterdir()) == []


PRICES = """\
model               review    issue
claude-haiku-5-5    0.0009   0.0006
claude-sonnet-5-5   0.0180   0.0115
claude-opus-5-5     0.0360   0.0230
"""
OWN_API = {"claude_url": "https://api.anthropic.com"}
TOKEN_OPTIONS = {"repositories": (REPOSITORY,), "webhook_url": UNSERVED}


@pytest.mark.parametrize(
    ("answer", "model"),
    [
        (None, "claude-sonnet-5-5"),
        ("opus", "claude-opus-5-5"),
        (["Sonnet 5", "haiku"], None),
    ],
    ids=["Enter", "opus", "haiku for all"],
)
def test_model_for_reviews_is_asked_with_the_prices(
    run: Run,
    sandbox: Sandbox,
    capsys: pytest.CaptureFixture[str],
    answer: str | list[str] | None,
    model: str | None,
) -> None:
    answers: dict[str, str | list[str]] = {"How": "token", "Key of": ""}
    if answer is not None:
        answers["Model for reviews"] = answer
    environ = {"GITHUB_TOKEN": sandbox.token}
    run(FakeTerminal(answers), environ=environ, **OWN_API, **TOKEN_OPTIONS)
    settings = load_written({"ANTHROPIC_API_KEY": "k", **environ})
    assert settings.claude.review_model == model
    assert settings.claude.model == "claude-haiku-5-5"
    shown = capsys.readouterr().out
    assert PRICES in shown
    assert ("expected haiku, sonnet, opus" in shown) == isinstance(answer, list)


@pytest.mark.parametrize("model", [None, "claude-opus-5-5"])
def test_without_a_terminal_only_the_option_chooses_a_model_for_reviews(
    run: Run,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str | None,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # nothing listens there
    environ = {"GITHUB_TOKEN": sandbox.token, "ANTHROPIC_API_KEY": KEY}
    run(environ=environ, review_model=model, **OWN_API, **TOKEN_OPTIONS)
    settings = load_written()
    assert settings.claude.review_model == model
    shown = capsys.readouterr().out
    assert "Claude did not answer: " in shown
    assert PRICES in shown


def test_other_service_gets_no_question_about_models_of_claude(
    run: Run, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"GITHUB_TOKEN": sandbox.token, "ANTHROPIC_API_KEY": KEY}
    with pytest.raises(SettingsError, match="--review-model is for Claude's own API"):
        run(environ=environ, review_model="claude-opus-5-5", **TOKEN_OPTIONS)
    run(environ=environ, **TOKEN_OPTIONS)
    assert "claude-sonnet-5-5" not in capsys.readouterr().out
    assert "review_model" not in Path("config/settings.yaml").read_text()


def test_an_interruption_before_the_installation_continues_there_with_the_same_app(
    run: Run, sandbox: Sandbox
) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(FakeTerminal(), Browser(installs=False), **APP, sleep=interrupt)
    key = Path("config/github-app.pem").read_bytes()
    second = Browser()
    run(FakeTerminal(), second)
    assert second.opened == [f"{sandbox.page_url}apps/my-hls/installations/new"]
    assert list(sandbox.state.world.apps) == ["my-hls"]
    assert Path("config/github-app.pem").read_bytes() == key
    assert Path("config/settings.yaml").exists()


def test_if_github_does_not_answer_the_code_the_message_says_how_to_begin_again(
    run: Run, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault(effect="status", status=503, path="/app-manifests/"))
    with pytest.raises(Permanent) as failed:
        run(**APP)
    assert f"delete the App at {sandbox.page_url}settings/apps, then start `hls init` again" in str(
        failed.value
    )
    assert list(Path("config").iterdir()) == []


def test_no_app_is_created_if_its_key_cannot_be_stored(run: Run, sandbox: Sandbox) -> None:
    browser = Browser()
    # not even by root
    with pytest.raises(SettingsError, match=r"/proc/hls/github-app.html: cannot be written"):
        run(browser=browser, **APP, config=Path("/proc/hls/settings.yaml"))
    assert (browser.opened, dict(sandbox.state.world.apps)) == ([], {})


def test_a_present_secret_is_an_error_before_the_app_is_created(run: Run, sandbox: Sandbox) -> None:
    Path(".env").write_text("GITHUB_WEBHOOK_SECRET=an-earlier-secret\nOTHER=1\n")
    with pytest.raises(
        SettingsError,
        match=r"\.env has another GITHUB_WEBHOOK_SECRET, and is unchanged; remove these",
    ):
        run(**APP)
    assert dict(sandbox.state.world.apps) == {}
    assert Path(".env").read_text() == "GITHUB_WEBHOOK_SECRET=an-earlier-secret\nOTHER=1\n"


def test_present_settings_are_kept(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("config").mkdir()
    Path("config/settings.yaml").write_text("# mine\n")
    with pytest.raises(SettingsError):  # its problems: no section github
        run(**APP)
    assert Path("config/settings.yaml").read_text() == "# mine\n"
    assert "config/settings.yaml has other content. It must contain:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stored", "missing"),
    [
        ("config/github-app.pem", "half of an App is stored, and .env has no GITHUB_APP_ID"),
        (".env", "half of an App is stored, and there is no "),
    ],
    ids=["key without id", "id without key"],
)
def test_half_an_app_is_an_error_that_names_the_other_half(
    run: Run, sandbox: Sandbox, folder: Path, stored: str, missing: str
) -> None:
    Path("config").mkdir()
    Path(stored).write_text("GITHUB_APP_ID=7\n")
    with pytest.raises(SettingsError) as failed:
        run(**APP)
    assert missing in failed.value.problems[0]
    assert dict(sandbox.state.world.apps) == {}


def test_an_app_on_all_repositories_of_an_account_is_a_pattern(run: Run) -> None:
    run(browser=Browser(repositories=None), **APP)
    settings = load_written()
    assert [one.name for one in settings.repositories] == ["Codertocat/*"]


def test_a_token_is_checked_and_stored(
    run: Run, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = FakeTerminal(
        {
            "How": ["none", "token"],
            "Token": sandbox.token,
            "Repositories": ["x", REPOSITORY],
            "Key of": KEY,
        }
    )
    run(terminal, environ={})
    settings = load_written()
    assert settings.github.token is not None
    assert [one.name for one in settings.repositories] == [REPOSITORY]
    assert variables()["GITHUB_TOKEN"] == sandbox.token
    assert len(variables()["GITHUB_WEBHOOK_SECRET"]) == 64
    shown = capsys.readouterr().out
    assert "GitHub: the token belongs to hls-bot (User)" in shown
    assert f"The webhook of {REPOSITORY} was not created: GET /repos/{REPOSITORY}/hooks" in shown
    assert f"{sandbox.page_url}{REPOSITORY}/settings/hooks/new" in shown
    assert sandbox.token not in shown


def test_a_token_that_may_creates_the_webhook_once(
    run: Run, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.state.set_permission(REPOSITORY, "hls-bot", "admin")
    environ = {"GITHUB_TOKEN": sandbox.token, "ANTHROPIC_API_KEY": KEY}
    options = {"environ": environ, "repositories": (REPOSITORY,), "webhook_url": SERVED}
    run(**options)
    (hook,) = sandbox.state.hooks.of(REPOSITORY)
    assert (hook.url, hook.secret, hook.active) == (
        SERVED,
        variables()["GITHUB_WEBHOOK_SECRET"],
        True,
    )
    assert sorted(hook.events) == sorted(EVENTS)
    shown = capsys.readouterr().out
    assert f"Webhook of {REPOSITORY}: created, it sends to {SERVED}" in shown
    assert f"GitHub's ping did not arrive: {SERVED} answered 502" in shown
    assert "settings/hooks/new" not in shown
    sandbox.state.hooks.change(replace(hook, secret="another", active=False, events=("push",)))
    run(**options)
    (changed,) = sandbox.state.hooks.of(REPOSITORY)
    assert changed == replace(hook, events=tuple(sorted({*EVENTS, "push"})))
    assert f"Webhook of {REPOSITORY}: updated, it sends to {SERVED}" in capsys.readouterr().out
    assert violations(request.document() for request in sandbox.requests.all("github")) == []


def test_a_ping_is_answered_while_no_service_runs(
    run: Run, sandbox: Sandbox, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    run(**{**APP, "webhook_url": SERVED})
    app = sandbox.state.world.apps["my-hls"]
    settings = folder / "config/settings.yaml"
    settings.write_text(settings.read_text().replace("server:\n", f"server:\n  port: {port}\n"))
    sandbox.state.hooks.addresses[SERVED] = f"http://127.0.0.1:{port}/webhook"
    # the port is the user's own
    with pytest.raises(SettingsError, match="is unchanged; rename it"):
        run()
    assert f"GitHub's ping arrived: {SERVED} answered 200" in capsys.readouterr().out
    with answer_pings(load_settings(settings, {}, dotenv=Path(".env"))):
        answers = [
            sandbox.state.hooks.send_to(hook, event, {}).status_code
            for hook, event in (
                (hook_of(app), "ping"),
                (hook_of(app), "issues"),
                (replace(hook_of(app), secret="another-secret-0001"), "ping"),
            )
        ]
    assert answers == [200, 503, 401]


def test_a_rejected_token_is_an_error_and_not_stored(run: Run) -> None:
    environ = {"GITHUB_TOKEN": "a-wrong-token", "ANTHROPIC_API_KEY": KEY}
    with pytest.raises(DependencyDown) as rejected:
        run(environ=environ, repositories=(REPOSITORY,), webhook_url=UNSERVED)
    assert ("a-wrong-token" in str(rejected.value), "GITHUB_TOKEN" in variables()) == (False, False)


def test_a_token_in_quotes_is_an_error_without_a_request(run: Run, sandbox: Sandbox) -> None:
    environ = {"GITHUB_TOKEN": f"'{sandbox.token}'", "ANTHROPIC_API_KEY": KEY}
    with pytest.raises(SettingsError, match=r"^the token is in quotes, which"):
        run(environ=environ, **TOKEN_OPTIONS)
    assert {request.stand_in for request in sandbox.requests.all()} == {"claude"}


def test_a_rejected_key_is_not_stored_and_a_missing_one_is_a_step(
    run: Run, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DependencyDown, match="Claude rejected the key"):
        run(environ={"ANTHROPIC_API_KEY": "wrong"}, **APP)
    assert not Path(".env").exists()
    assert dict(sandbox.state.world.apps) == {}
    run(FakeTerminal({"Key of": ["wrong", ""]}), environ={}, **APP)
    assert f"Add the line ANTHROPIC_API_KEY=... to {Path.cwd()}/.env" in capsys.readouterr().out
