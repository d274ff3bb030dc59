"""`hls check`: problems that only GitHub and Claude know, and those of a repository's file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hls_handler.cli import app
from hls_handler.cli.options import utc_now
from hls_handler.github.app_setup import APP_EVENTS
from hls_handler.prompting import recorded
from hls_sandbox.world import World
from tests.e2e.service import SECRET, settings_text
from tests.github.test_credentials import ALL, OWNER, REPOSITORY, public_key
from tests.github_fake.apps import add_app
from tests.github_fake.faults import Fault
from tests.github_fake.files import set_file
from tests.github_fake.server import Sandbox
from tests.prompting.samples import write
from tests.retrieval.fake_embeddings import KEY, FakeEmbeddings
from tests.settings.files import app_key

SENT = ("issues", "pull_request", "pull_request_review", "workflow_run")
EVENTS = "events: [issues, pull_request, pull_request_review, workflow_run, release, issue_comment]"
FRONT = "---\ndescription: d\non: [{}]\nreply: {}\nmodel: {}\n---\nJudge it.\n"
Check = Callable[..., Result]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        running.state.seed("issues", recorded.load("demo/bug").payload)
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def few_prompts(folder: Path) -> Path:
    """Write one short prompt for each family: to check the shipped ones takes most of the time."""
    families = (
        ("issues/analyze", "issues", "generic_analysis"),
        ("pull_requests/short", "pull_request", "generic_analysis"),
        ("reviews/short", "pull_request_review", "review_analysis"),
        ("workflows/short", "workflow_run", "workflow_analysis"),
        ("releases/short", "release", "release_analysis"),
        ("comments/short", "issue_comment", "comment_reply"),
    )
    files = {
        f"{name}.j2": FRONT.format(event, reply, "claude-opus-5-5")
        for name, event, reply in families
    }
    return write(folder / "lib", files)


@pytest.fixture
def check(sandbox: Sandbox, settings: Path) -> Check:
    """Return a function that checks the settings, after replacing texts in them."""

    def run(replaced: dict[str, str] | None = None, *, prompts: str | None = None) -> Result:
        prompts = prompts or str(few_prompts(settings.parent))
        text = settings_text(
            sandbox, storage_url=f"sqlite:///{settings.parent}/hls.db", prompts=prompts
        )
        for old, new in (replaced or {}).items():
            assert old in text
            text = text.replace(old, new)
        settings.write_text(text)
        return CliRunner().invoke(app, ["check", "--config", str(settings)])

    return run


def test_valid_settings_are_fine(check: Check) -> None:
    checked = check(prompts="prompts")
    assert checked.exit_code == 0, checked.output
    assert "the token github.token belongs to hls-bot" in checked.stdout
    assert checked.stdout.endswith("settings and 11 prompts are fine; GitHub and Claude answer\n")


def test_names_that_do_not_exist_are_named(check: Check, settings: Path) -> None:
    entries = (
        f'  - {{name: "{REPOSITORY}", comments: {{post_to: {{push: 4711}}}}}}\n  - {{name:'
        ' "Codertocatt/*", prompts: {use: {issues.reopened: issues/analyse, issues.edited:'
        " false}}}"
    )
    checked = check({"repositories:\n": f"repositories:\n{entries}\n"})
    assert checked.exit_code == 1
    prompt, issue, owner = checked.stdout.splitlines()[-3:]
    assert (
        prompt == f"{settings}:18 (repositories[1].prompts.use.issues.reopened): there is no prompt"
        " 'issues/analyse'; did you mean 'issues/analyze'? [HLS035]"
    )
    assert f".comments.post_to.push): the issue {REPOSITORY}#4711 cannot be read: GET " in issue
    assert (
        owner
        == f"{settings}:18 (repositories[1].name): GitHub has no account Codertocatt; check the"
        " name [HLS053]"
    )


def test_misnamed_file_of_a_repository_is_a_warning(
    check: Check, settings: Path, sandbox: Sandbox
) -> None:
    set_file(sandbox.state, REPOSITORY, ".github/hls.yml", "enabled: false\n")
    checked = check({"repositories:\n": f'repositories:\n  - name: "{REPOSITORY}"\n'})
    expected = (
        f"{REPOSITORY}: .github/hls.yml is not read; rename it to .github/hls.yaml [HLS060]\n"
    )
    assert expected in checked.stdout + checked.stderr
    assert checked.exit_code == 0


def test_labels_that_prompts_do_not_list_are_counted(
    check: Check, settings: Path, sandbox: Sandbox
) -> None:
    def add_labels(now: World) -> World:
        for number in range(1_100):
            now = now.with_label(REPOSITORY, f"area/{number:06}")
        return now

    sandbox.state.change(add_labels)
    entry = f'  - {{name: "{REPOSITORY}", labels: {{suggest: true, allow: ["area/*"]}}}}'
    checked = check({"repositories:\n": f"repositories:\n{entry}\n"})
    assert (
        f"{settings}:17 (repositories[0].labels.suggest): note: prompts do not list 100 of 1100"
        " labels of the repository; labels.allow and labels.deny choose which they list [HLS055]\n"
        in checked.stdout
    )
    assert checked.exit_code == 0


def test_events_that_the_webhooks_do_not_send_are_named(
    check: Check, settings: Path, sandbox: Sandbox
) -> None:
    """That of the organisation sends two events, and that of the repository others."""
    sandbox.state.set_permission(REPOSITORY, "hls-bot", "admin")
    sandbox.state.hooks.add(
        "Codertocat", "https://hls.invalid/webhook", SECRET, events=("release", "issue_comment")
    )
    hook = sandbox.state.hooks.add(REPOSITORY, "https://hls.invalid/webhook", SECRET, events=SENT)
    checked = check({'"Codertocat/*"': REPOSITORY, "enabled: false": "enabled: true"})
    page = f"{sandbox.page_url}{REPOSITORY}/settings/hooks/{hook.id}"
    assert checked.exit_code == 1
    assert checked.stdout.splitlines()[-1] == (
        f"{settings}:17 (repositories[0].name): the webhook does not send"
        " pull_request_review_comment, pull_request_review_thread, which the settings need; select"
        f" them at {page} [HLS052]"
    )


def test_budget_below_one_call_is_a_warning(check: Check, settings: Path) -> None:
    small = (
        "budgets: {total: {day_usd: 0.006, month_usd: 5}, outsiders: {day_usd:"
        " 0.001}}\nrepositories:\n"
    )
    checked = check({"repositories:\n": small}, prompts="prompts")
    assert checked.exit_code == 0, checked.output
    warnings = [line for line in checked.stdout.splitlines() if line.startswith("warning: ")]
    assert warnings == [
        f"warning: {settings}:16 (budgets.{key}.day_usd): {usd} USD are less than one call may cost"
        " (0.0087 USD for claude.input_tokens and max_tokens with claude-haiku-5-5); a call that"
        " does not fit is never made [HLS017]"
        for key, usd in (("total", "0.006"), ("outsiders", "0.001"))
    ]


def test_rejected_credentials_are_named_and_not_shown(
    check: Check, settings: Path, sandbox: Sandbox
) -> None:
    checked = check({sandbox.token: "ghp_" + "x" * 36, sandbox.api_key: "sk-ant-" + "x" * 36})
    assert checked.exit_code == 1
    assert f"{settings}:4 (github.token)" in checked.stdout
    assert f"{settings}:9 (claude.api_key): Claude answered 401" in checked.stdout
    assert {"[HLS050]", "[HLS056]"} <= {*checked.stdout.split()}
    assert "x" * 36 not in checked.output


def test_token_that_expires_soon_is_a_warning(
    check: Check, settings: Path, sandbox: Sandbox
) -> None:
    expires_at = utc_now() + timedelta(days=13)
    sandbox.faults.add(
        Fault(
            effect="status",
            path="/user$",
            status=200,
            headers={"GitHub-Authentication-Token-Expiration": f"{expires_at:%F %T} UTC"},
            body='{"login": "hls-bot", "id": 9001, "type": "User"}',
        )
    )
    checked = check()
    assert checked.exit_code == 0
    assert (
        f"warning: {settings}:4 (github.token): github.token expires at {expires_at:%F %H:%M} UTC;"
        " create another token on GitHub, and write it to the settings before [HLS059]\n"
    ) in checked.stdout


def test_every_unknown_model_is_named_with_its_file(check: Check, tmp_path: Path) -> None:
    models = {"opened": "claude-one", "edited": "claude-two", "reopened": "claude-3-opus-20240229"}
    files = {
        f"issues/{name}.j2": FRONT.format(f"issues.{name}", "generic_analysis", model)
        for name, model in models.items()
    }
    checked = check({EVENTS: "events: [issues]"}, prompts=str(write(tmp_path / "lib", files)))
    assert checked.exit_code == 1
    *_, retired, first, second = checked.stdout.splitlines()
    assert retired.startswith(f"warning: {tmp_path}/lib/issues/reopened.j2: model: ")
    assert first.startswith(f"{tmp_path}/lib/issues/edited.j2: Claude answered 404")
    assert "claude-two" in first
    assert second.startswith(f"{tmp_path}/lib/issues/opened.j2: Claude answered 404")
    assert "claude-one" in second


def test_unknown_review_model_is_named_with_its_line(check: Check, settings: Path) -> None:
    checked = check({"claude:\n": "claude:\n  review_model: claude-one\n"})
    last = checked.stdout.splitlines()[-1]
    assert last.startswith(f"{settings}:9 (claude.review_model): Claude answered 404")
    assert last.endswith(" [HLS057]")
    assert "claude-one" in last
    assert (
        "set claude.model, claude.review_model or the prompt's model to one that this key may use"
        in last
    )
    assert checked.exit_code == 1


def test_fallback_that_reviews_with_its_own_model_is_noted(check: Check, settings: Path) -> None:
    first = "{name: second, api_key: k, model: claude-haiku-5-5}"
    third = "{name: third, api_key: k, model: claude-haiku-5-5, review_model: claude-sonnet-5-5}"
    keys = f"  review_model: claude-sonnet-5-5\n  fallbacks: [{first}, {third}]\n"
    checked = check({"claude:\n": f"claude:\n{keys}"})
    notes = [line for line in checked.stdout.splitlines() if "reviews by" in line]
    (note,) = notes
    assert (
        note == f"{settings}:10 (claude.fallbacks[0].model): note: reviews by second use its model "
        "claude-haiku-5-5; claude.fallbacks[0].review_model names another [HLS021]"
    )


def test_prices_of_the_models_in_use_are_shown(check: Check) -> None:
    """Of another address than that of Claude's own API, only the models of settings and prompts."""
    fallback = "{name: second, api_key: k, model: llama, price: {input: 1, output: 5}}"
    keys = f"  review_model: claude-sonnet-5-5\n  fallbacks: [{fallback}]\n"
    lines = check({"claude:\n": f"claude:\n{keys}"}).stdout.splitlines()
    begin = next(n for n, line in enumerate(lines) if line.startswith("US dollars for a typical"))
    assert lines[begin + 1 : begin + 6] == [
        "model                         review    issue",
        "anthropic/claude-haiku-5-5    0.0009   0.0006",
        "second/llama                  0.0090   0.0057",
        "anthropic/claude-sonnet-5-5   0.0180   0.0115",
        "anthropic/claude-opus-5-5     0.0360   0.0230",
    ]


REFUSED = "http://127.0.0.1:1"  # nothing listens there


@pytest.mark.parametrize(
    ("qdrant", "key", "problem"),
    [
        ("path: {}/vectors", KEY, None),
        (
            "path: {}/vectors",
            "sk-wrong-key-of-the-tests",
            "Incorrect API key provided: ***; check retrieval.embed",
        ),
        (
            "url: '" + REFUSED + "'",
            KEY,
            "no usable answer from Qdrant: Connection refused; check that it runs, and ",
        ),
    ],
    ids=["service that answers", "rejected key", "Qdrant that is down"],
)
def test_services_of_retrieval_are_checked_and_no_folder_is_opened(
    check: Check, settings: Path, qdrant: str, key: str, problem: str | None
) -> None:
    with closing(FakeEmbeddings()) as service:
        embeddings = f"{{base_url: '{service.url}', api_key: {key}, model: words}}"
        retrieval = (
            f"retrieval: {{qdrant: {{{qdrant.format(settings.parent)}}}, embeddings: {embeddings}}}"
        )
        checked = check({"mirror:": f"{retrieval}\nmirror:"})
    assert checked.exit_code == (0 if problem is None else 1), checked.output
    if problem is not None:
        assert checked.stdout.splitlines()[-1].startswith(f"{settings}:20 (retrieval): ")
        assert checked.stdout.endswith(" [HLS058]\n")
        assert problem in checked.stdout
    assert not (settings.parent / "vectors").exists()


def check_app(
    check: Check, sandbox: Sandbox, tmp_path: Path, *, without: str, kind: str, name: str = ""
) -> Result:
    """Check the settings of an App that does not get one event, on the account of a person or an
    organisation.
    """
    owner = replace(OWNER, type=kind)
    events = tuple(event for event in APP_EVENTS if event != without)
    made = add_app(
        sandbox.state, owner=owner, public_key=public_key(), permissions=ALL, events=events
    )
    sandbox.apps.install(made, owner, (REPOSITORY,))
    key = tmp_path / "app.pem"
    key.write_text(app_key())
    key.chmod(0o600)
    app_section = f'app: {{id: {made.id}, private_key_path: "{key}"}}'
    return check(
        {f'token: "{sandbox.token}"': app_section, '"Codertocat/*"': name or '"Codertocat/*"'}
    )


def test_what_the_app_lacks_is_named(check: Check, sandbox: Sandbox, tmp_path: Path) -> None:
    name = '"Codertocatt/*"'
    checked = check_app(
        check, sandbox, tmp_path, without="pull_request_review_thread", kind="User", name=name
    )
    assert checked.exit_code == 1
    event, owner = checked.stdout.splitlines()[-2:]
    page = f"{sandbox.page_url}settings/apps/my-hls"
    assert event.endswith(
        "the App's webhook does not send pull_request_review_thread, which the settings need;"
        f" select them at {page}/permissions [HLS052]"
    )
    assert owner.endswith(
        "(repositories[0].name): the App is not installed on Codertocatt; check the name, or"
        f" install it at {page}/installations [HLS053]"
    )


def test_app_that_gets_no_events_of_merge_queues_is_noted(
    check: Check, sandbox: Sandbox, tmp_path: Path
) -> None:
    checked = check_app(check, sandbox, tmp_path, without="merge_group", kind="Organization")
    assert checked.exit_code == 0
    page = f"{sandbox.page_url}organizations/Codertocat/settings/apps/my-hls/permissions"
    (note,) = [
        line.partition(": note: ")[2]
        for line in checked.stdout.splitlines()
        if "merge_group" in line
    ]
    assert (
        note
        == "the App's webhook does not send merge_group, so a merge queue that requires the check"
        " waits for it in vain; if you use one, add the permission Merge queues (read) and the"
        f" event Merge group at {page} [HLS054]"
    )


def check_file(folder: Path, content: str) -> Result:
    """Check a repository's file without credentials and with the shipped settings."""
    file = folder / "mine.yaml"
    file.write_text(content)
    return CliRunner().invoke(app, ["check", str(file)])


def test_file_of_a_repository_is_fine_without_credentials(tmp_path: Path) -> None:
    result = check_file(tmp_path, "labels: {allow: [bug]}\n")
    assert (result.exit_code, result.stdout) == (
        0,
        f"{tmp_path}/mine.yaml: these settings are fine\n",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("\nlables: {}\n", ":2: lables: unknown key; did you mean labels? [HLS002]"),
        ("labels: [\n", ":2: not valid YAML: this line cannot be parsed [HLS001]"),
        (
            "prompts:\n  use: {issues.opened: issues/none}\n",
            (
                ":2: prompts.use.issues.opened: the operator has no prompt issues/none for"
                " issues.opened; there are issues/analyze [HLS035]"
            ),
        ),
    ],
    ids=["unknown key", "no YAML", "unknown prompt"],
)
def test_problem_of_a_repository_file_is_printed_with_its_line_and_id(
    tmp_path: Path, content: str, problem: str
) -> None:
    result = check_file(tmp_path, content)
    assert (result.exit_code, result.stdout) == (1, f"{tmp_path}/mine.yaml{problem}\n")


def test_file_of_a_repository_that_is_missing_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(tmp_path / "none.yaml")])
    missing = f"{tmp_path}/none.yaml: cannot be read: No such file or directory\n"
    assert (result.exit_code, result.stderr) == (2, missing)
