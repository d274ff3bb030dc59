"""Loading of settings files: valid files, and errors that list all problems at once."""

from __future__ import annotations

import os
import pickle
import re
import sys
import traceback
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from pydantic import SecretStr

from hls_handler.errors import SettingsError
from hls_handler.settings import shipped
from hls_handler.settings.environment import export_proxy_settings
from hls_handler.settings.load import collect_secrets, find_settings_file, load_settings
from hls_handler.settings.model import Settings
from hls_handler.settings.reload import SettingsFile, plan_reload
from hls_handler.settings.values import webhook_secrets
from tests.settings.files import (
    API_KEY,
    SECRET,
    SMALLEST,
    TOKEN,
    USERS_FILE,
    VARIABLES,
    load,
    problems,
)


def test_a_users_file_loads_unchanged(tmp_path: Path) -> None:
    settings = load(tmp_path, USERS_FILE)
    assert settings.server.host == "0.0.0.0"
    assert settings.github.token == SecretStr(TOKEN)
    assert settings.claude.default_model() == "claude-sonnet-5-5"
    assert settings.claude.max_tokens == 4000
    assert settings.repositories[0].events == ("issues", "pull_request", "pull_request_review")
    assert settings.limits.concurrency == 24
    retired, open_to_all = settings.warnings
    assert (
        retired
        == f"{tmp_path}/settings.yaml:10 (claude.model): claude-3-5-sonnet-20241022 was retired on"
        " 2025-10-28; claude-sonnet-5-5 is used in its place"
    )
    assert (
        open_to_all
        == f"{tmp_path}/settings.yaml:2 (server.host): anyone who reaches 0.0.0.0 can read /stats"
        " and /health, and the console is off; set server.api_key to require a key and to open"
        " the console"
    )


def test_own_settings_file_takes_precedence_over_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_settings_file({}) == shipped.SETTINGS
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings.yaml").touch()
    assert find_settings_file({}) == Path("config/settings.yaml")
    assert find_settings_file({"HLS_CONFIG": "/etc/hls/settings.yaml"}) == Path(
        "/etc/hls/settings.yaml"
    )


def test_problems_of_the_shipped_settings_say_that_there_are_no_own_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(shipped.SETTINGS, {}, dotenv=tmp_path / ".env")
    assert raised.value.problems[-1] == (
        "there is no config/settings.yaml in this folder, so the shipped example was read;"
        " `hls init` writes one"
    )


def shipped_with_every_line() -> str:
    """Return the shipped file with every line active, except that of the App."""
    text = shipped.SETTINGS.read_text(encoding="utf-8")
    return re.sub(r"^( +)# (?!app:)(?=[a-z_]+: |  - \{)", r"\1", text, flags=re.MULTILINE)


def test_the_shipped_file_is_short_and_loads_with_every_line(tmp_path: Path) -> None:
    text = shipped_with_every_line()
    variables = dict.fromkeys(("HLS_API_KEY", "OTHER_WEBHOOK_SECRET", "BEDROCK_API_KEY"), SECRET)
    settings = load(tmp_path, text, VARIABLES | variables)
    assert settings.repositories[0].name == "*/*"
    assert len(text.splitlines()) <= 125
    assert max(map(len, text.splitlines())) <= 100


WITHOUT_DEFAULT = re.compile(
    r"\s*(- \{kind|review: \{|prompts: \{|variables: \{t"
    r"|(language|public_url|format|total|outsiders|fallbacks|review_model):)"
)
"""Lines of the shipped file that show an example in place of the default."""


def test_the_shipped_file_shows_the_defaults(tmp_path: Path) -> None:
    shown = "\n".join(
        line
        for line in shipped_with_every_line().splitlines()
        if "HLS_API_KEY" not in line and "OTHER_WEBHOOK_SECRET" not in line
        if not WITHOUT_DEFAULT.match(line)
    )
    everything = load(tmp_path, shown).model_dump(exclude={"repositories"})
    unchanged = load_settings(shipped.SETTINGS, VARIABLES, dotenv=None)
    assert everything == unchanged.model_dump(exclude={"repositories"})
    assert (unchanged.warnings, unchanged.repositories[0].name) == ((), "*/*")
    assert unchanged.review.fail_on == "high"  # no default: findings would never fail the check


def test_a_trusted_proxy_of_every_address_causes_a_warning(tmp_path: Path) -> None:
    proxy = "{networks: [10.0.0.0/8, 0.0.0.0/0, '::/0'], user_header: X-User}"
    settings = load(tmp_path, f"{SMALLEST}server: {{host: 0.0.0.0, trusted_proxy: {proxy}}}\n")
    where = (
        f"{tmp_path}/settings.yaml:8 (server.trusted_proxy.networks[%d]): %s is every address, so"
        " all who reach the"
    )
    assert settings.warnings == tuple(
        f"{where % (index, network)} port can name any user; name the proxy's"
        for index, network in ((1, "0.0.0.0/0"), (2, "::/0"))
    )


def test_key_that_the_kind_of_provider_does_not_use_causes_a_warning(tmp_path: Path) -> None:
    keys = "{kind: openai, api_key: k, model: m, region: eu-central-1, api_version: '1'}"
    settings = load(tmp_path, SMALLEST.replace("claude:\n", f"claude:\n  fallbacks: [{keys}]\n"))
    assert settings.warnings == tuple(
        f"{tmp_path}/settings.yaml:5 (claude.fallbacks[0].{key}): has no effect with kind openai;"
        " remove the key"
        for key in ("region", "api_version")
    )


def test_retired_review_model_causes_a_warning_and_its_successor_is_used(tmp_path: Path) -> None:
    old = "review_model: claude-3-5-sonnet-latest"
    settings = load(tmp_path, SMALLEST.replace("claude:\n", f"claude:\n  {old}\n"))
    (warning,) = settings.warnings
    assert "settings.yaml:5 (claude.review_model): claude-3-5-sonnet-latest was retired" in warning
    assert settings.claude.default_model(is_review=True) == "claude-sonnet-5-5"
    assert settings.claude.default_model() == "claude-haiku-5-5"


def test_options_of_the_command_override_the_file_and_are_named_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(f"{SMALLEST}server:\n  port: 8001\n", encoding="utf-8")
    settings = load_settings(
        path, VARIABLES, dotenv=None, options={"server.host": "0.0.0.0", "server.port": 8002}
    )
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 8002)
    assert settings.sources.where("server.port") == "--port (server.port)"
    (warning,) = settings.warnings
    assert warning.startswith(
        "--host (server.host): anyone who reaches 0.0.0.0 can read /stats and /health, "
    )
    file = SettingsFile(path, VARIABLES, dotenv=None, options={"server.port": 8002})
    write(path, f"{SMALLEST}server: {{port: 8003}}\n")
    assert (file.initial.server.port, file.read().server.port) == (8002, 8002)
    assert plan_reload(file.initial, file.read()).waiting == ()


@pytest.mark.parametrize(
    ("url", "keys"),
    [("", ["cherry_pick", "test_oracle"]), ("https://oracle.example.com/", ["cherry_pick"])],
)
def test_command_that_needs_the_mirror_causes_a_warning_without_it(
    tmp_path: Path, url: str, keys: list[str]
) -> None:
    entry = "    features: {cherry_pick: true, test_oracle: true}\n"
    service = f"test_oracle: {{url: '{url}'}}\n" if url else ""
    settings = load(tmp_path, f"{SMALLEST}{entry}{service}mirror: {{enabled: false}}\n")
    assert settings.warnings == tuple(
        f"{tmp_path}/settings.yaml:8 (repositories[0].features.{key}): needs the mirror, and"
        " mirror.enabled is false"
        for key in keys
    )


def test_rule_1_unverified_webhooks_cause_a_warning(tmp_path: Path) -> None:
    settings = load(tmp_path, f"{SMALLEST}features: {{signature_validation: false}}\n")
    where = f"{tmp_path}/settings.yaml:8 (features.signature_validation)"
    accepted = "they are accepted from this machine only, and not from a proxy"
    assert settings.warnings == (f"{where}: webhooks are not verified; {accepted}",)


def test_an_option_of_the_command_does_not_make_an_unsafe_combination_possible(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "settings.yaml", f"{SMALLEST}features: {{signature_validation: false}}\n"
    )
    with pytest.raises(SettingsError, match="false is allowed on a loopback host only"):
        load_settings(path, VARIABLES, dotenv=None, options={"server.host": "0.0.0.0"})


def test_values_of_variables_are_converted_to_the_type_of_the_key(tmp_path: Path) -> None:
    text = (
        SMALLEST + 'server: {port: "${PORT}"}\nfeatures: {dry_run: "${DRY}"}\nlimits: {settle_s:'
        ' "${SETTLE:-7.5}"}\n'
    )
    settings = load(tmp_path, text, VARIABLES | {"PORT": "8123", "DRY": "true"})
    assert (settings.server.port, settings.features.dry_run, settings.limits.settle_s) == (
        8123,
        True,
        7.5,
    )


def test_a_dotenv_file_is_read_and_the_environment_takes_precedence(tmp_path: Path) -> None:
    path, dotenv = tmp_path / "settings.yaml", tmp_path / ".env"
    path.write_text(SMALLEST, encoding="utf-8")
    dotenv.write_text(
        "GITHUB_TOKEN=from-the-file\nexport"
        f" ANTHROPIC_API_KEY='{API_KEY}'\nGITHUB_WEBHOOK_SECRET={SECRET} # new\n",
        encoding="utf-8",
    )
    settings = load_settings(path, {"GITHUB_TOKEN": "from-the-environment"}, dotenv=dotenv)
    assert settings.github.token == SecretStr("from-the-environment")
    assert settings.claude.api_key.get_secret_value() == API_KEY
    assert webhook_secrets(settings.github.webhook_secret) == (SECRET.encode(),)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absent.yaml", "there is no such file; name another with --config or HLS_CONFIG"),
        ("", "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(tmp_path / name, VARIABLES, dotenv=None)
    assert raised.value.problems == (f"{tmp_path / name}: {sentence}",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (f"A=1\n'{SECRET}\nB=2\n".encode(), ":2: invalid line; expected NAME=value"),
        (b"A=\xff\xfe", ": not UTF-8; save the file as UTF-8"),
    ],
)
def test_a_broken_dotenv_file_is_reported_without_its_text(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path, dotenv = write(tmp_path / "settings.yaml", SMALLEST), tmp_path / ".env"
    dotenv.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        load_settings(path, VARIABLES, dotenv=dotenv)
    assert raised.value.problems == (f"{dotenv}{problem}",)


LATER: Iterator[int] = count(2_000_000_000)
DOTENV = f"GITHUB_TOKEN={TOKEN}\nGITHUB_WEBHOOK_SECRET={SECRET}\nANTHROPIC_API_KEY={API_KEY}\n"


def write(path: Path, text: str) -> Path:
    """Write a file with a new modification time."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, (next(LATER),) * 2)
    return path


@pytest.fixture
def file(tmp_path: Path) -> SettingsFile:
    dotenv = write(tmp_path / ".env", DOTENV)
    return SettingsFile(write(tmp_path / "settings.yaml", SMALLEST), {}, dotenv=dotenv)


def test_a_changed_file_is_read_anew(file: SettingsFile, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    write(path, SMALLEST + "features: {dry_run: true}\n")
    assert file.has_changed()
    assert file.read().features.dry_run
    assert not file.has_changed()
    assert not file.initial.features.dry_run
    before = path.stat()
    # of the same time and length
    other = write(tmp_path / "other.yaml", SMALLEST + "features: {dry_run: TRUE}\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert file.has_changed()
    path.unlink()
    with pytest.raises(SettingsError, match="there is no such file"):
        file.read()
    assert not file.has_changed()


def test_a_file_that_is_being_written_has_not_changed_yet(tmp_path: Path) -> None:
    now_ns = [10**18]
    path = write(tmp_path / "settings.yaml", SMALLEST)
    file = SettingsFile(path, VARIABLES, dotenv=None, clock_ns=lambda: now_ns[0])
    os.utime(path, ns=(10**18, 10**18))
    assert not file.has_changed()
    now_ns[0] += 250_000_000
    assert file.has_changed()


def test_changes_are_listed_by_key_without_values(tmp_path: Path) -> None:
    before = load(tmp_path, SMALLEST)
    after = load(
        tmp_path,
        SMALLEST + "    enabled: false\nfeatures: {drafts: true}\nlogging: {level: DEBUG}\n",
        {**VARIABLES, "GITHUB_TOKEN": TOKEN * 2, "GITHUB_WEBHOOK_SECRET": SECRET * 2},
    )
    step = plan_reload(before, after)
    assert step.settings == after
    assert step.changed == (
        "github.token",
        "github.webhook_secret",
        "repositories[0].enabled",
        "features.drafts",
        "logging.level",
    )
    assert step.waiting == ()
    step = plan_reload(before, load(tmp_path, "# Ours.\n" + SMALLEST))
    assert (step.changed, step.waiting) == ((), ())
    assert step.settings.sources.find_line("github.token") == 3
    step = plan_reload(before, load(tmp_path, SMALLEST + "    labels: {allow: []}\n"))
    assert step.changed == ("repositories[0].labels.allow",)


EMBEDDINGS = "{base_url: 'https://embeddings.example.com/v1', model: m}"
RETRIEVAL = f"qdrant: {{path: vectors}}, embeddings: {EMBEDDINGS}"


@pytest.mark.parametrize(
    ("section", "text", "keys"),
    [
        ("server", "host: 127.0.0.2", ["host"]),
        ("storage", "url: sqlite:///elsewhere.db", ["url"]),
        ("limits", "concurrency: 9", ["concurrency"]),
        ("retrieval", RETRIEVAL, ["qdrant", "embeddings"]),
    ],
)
def test_a_key_that_needs_a_restart_keeps_its_value_and_is_listed_with_its_line(
    tmp_path: Path, section: str, text: str, keys: list[str]
) -> None:
    before = load(tmp_path, SMALLEST)
    step = plan_reload(
        before, load(tmp_path, f"{SMALLEST}{section}: {{{text}}}\nfeatures: {{drafts: true}}\n")
    )
    assert step.waiting == tuple(f"{tmp_path}/settings.yaml:8 ({section}.{key})" for key in keys)
    assert step.changed == ("features.drafts",)
    assert getattr(step.settings, section) == getattr(before, section)


def fallback(kind: str) -> str:
    keys = f"kind: {kind}, api_key: k, model: m, region: eu, project: p, base_url: 'https://x.test'"
    return SMALLEST.replace("claude:\n", f"claude:\n  fallbacks: [{{{keys}}}]\n")


QDRANT_FILE = f"{SMALLEST}retrieval: {{{RETRIEVAL}}}\n"


@pytest.mark.parametrize(
    ("text", "key", "package", "extra"),
    [
        (QDRANT_FILE, "8: retrieval.qdrant", "qdrant_client", "qdrant"),
        (QDRANT_FILE, "8: retrieval.qdrant", "openai", "qdrant"),
        (fallback("openai"), "5: claude.fallbacks[0].kind", "openai", "providers"),
        (fallback("vertex"), "5: claude.fallbacks[0].kind", "google.auth", "providers"),
    ],
)
def test_key_that_needs_an_extra_names_it_with_a_command_that_uses_no_package_of_this_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, key: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it was not installed
    (problem,) = problems(tmp_path, text, VARIABLES)
    assert (
        problem
        == f"settings.yaml:{key}: needs the packages of requirements-{extra}.txt, which are not "
        f"installed; run make .venv/ready-{extra} in the clone, or install HLS with this extra"
    )


def test_rule_1_signatures_cannot_be_switched_off_with_a_host_that_needs_a_restart(
    tmp_path: Path,
) -> None:
    before = load(tmp_path, SMALLEST + "server: {host: 0.0.0.0}\n")
    after = load(
        tmp_path, SMALLEST + "server: {host: 127.0.0.1}\nfeatures: {signature_validation: false}\n"
    )
    with pytest.raises(SettingsError) as raised:
        plan_reload(before, after)
    (problem,) = raised.value.problems
    assert (
        problem
        == f"{tmp_path}/settings.yaml:9 (features.signature_validation): false is allowed on a"
        " loopback host only, but the running service listens on 0.0.0.0; set it to true, or"
        " set server.host to 127.0.0.1 and restart HLS"
    )


EVERY_SECRET = """\
server:
  api_key: api-key-marker-0000
github:
  token: token-marker-0000
  webhook_secret: [webhook-marker-0001, webhook-marker-0002]
claude:
  api_key: claude-marker-0000
  fallbacks: [{kind: openai, api_key: fallback-marker-0000, model: m}]
storage:
  url: postgresql+psycopg://hls:data%20base-marker@db.example/hls
repositories:
  - name: owner/repo
    webhook_secret: repository-marker-0000
"""


def test_secrets_are_in_no_repr_and_listed_longest_first(tmp_path: Path) -> None:
    settings = load(tmp_path, EVERY_SECRET)
    for shown in (
        repr(settings),
        f"{settings.storage}",
        settings.model_dump_json(exclude={"storage"}),
    ):
        assert "marker" not in shown
    assert collect_secrets(settings) == {
        "repository-marker-0000",
        "fallback-marker-0000",
        "api-key-marker-0000",
        "webhook-marker-0001",
        "webhook-marker-0002",
        "claude-marker-0000",
        "data%20base-marker",
        "token-marker-0000",
        "data base-marker",
    }
    url = "postgresql+psycopg://h/n?password=option-marker&a=b"
    settings = load(tmp_path, f"{SMALLEST}storage: {{url: '{url}'}}\n")
    assert {*collect_secrets(settings)} == {*VARIABLES.values(), "option-marker"}


@pytest.mark.parametrize(
    "broken",
    [
        EVERY_SECRET.replace("token: token-marker-0000", "token: [token-marker-0000]"),
        EVERY_SECRET.replace("  token:", "  tokne:"),
        EVERY_SECRET.replace("github:", "github: token-marker-0000\nother:"),
        EVERY_SECRET.replace("- name: owner/repo", "- token-marker-0000\n  - name: owner/repo"),
        EVERY_SECRET.replace("token: token-marker-0000", "token: *token-marker-0000"),
        EVERY_SECRET.replace("token-marker-0000", "${token-marker-0000}"),
        EVERY_SECRET.replace("postgresql+psycopg", "postgresql"),
    ],
)
def test_no_problem_shows_a_secret_nor_does_the_traceback(tmp_path: Path, broken: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, broken)
    error = raised.value
    shown = (
        "".join(traceback.format_exception(error))
        + repr(error)
        + repr(error.__cause__)
        + repr(error.__context__)
    )
    assert "marker" not in shown.replace("secret-marker", "")
    assert b"-marker-" not in pickle.dumps(str(error))


def test_keys_that_begin_with_x_hold_anchors(tmp_path: Path) -> None:
    text = "x-defaults: &defaults\n  labels: {create: false}\n" + SMALLEST + "    <<: *defaults\n"
    labels = load(tmp_path, text).repositories[0].labels
    assert labels is not None
    assert labels.create is False


def test_proxy_and_certificate_variables_in_dotenv_are_copied_unless_already_set(
    tmp_path: Path,
) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(
        "https_proxy=http://p:1\nNO_PROXY=corp.example\nSSL_CERT_FILE=/etc/ca.pem\nGITHUB_TOKEN=t\n"
    )
    environ = {"NO_PROXY": "*"}
    export_proxy_settings(environ, dotenv)
    assert environ == {"NO_PROXY": "*", "https_proxy": "http://p:1", "SSL_CERT_FILE": "/etc/ca.pem"}
    dotenv.write_text("HTTPS_PROXY=http://p:1\nthis is no line\n")
    unchanged: dict[str, str] = {}
    export_proxy_settings(unchanged, dotenv)
    assert unchanged == {}


def load_unset(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = write(folder / "settings.yaml", text)
    return load_settings(path, environ or {}, dotenv=None, allow_unset=True)


def test_settings_load_without_the_variables_that_they_name(tmp_path: Path) -> None:
    lines = 'server: {port: "${PORT}", api_key: "${KEY}"}\nlabels: {allow: [bug, "${LABEL}"]}\n'
    text = SMALLEST.replace(
        "claude:", 'claude:\n  fallbacks: [{kind: openai, api_key: "${OTHER}", model: m}]'
    )
    settings = load_unset(
        tmp_path, f"{text}{lines}", {"GITHUB_TOKEN": "t", "ANTHROPIC_API_KEY": " "}
    )
    assert settings.unset == {
        "github.webhook_secret": "GITHUB_WEBHOOK_SECRET is not set",
        "claude.api_key": "ANTHROPIC_API_KEY is not set",
        "claude.fallbacks[0].api_key": "OTHER is not set",
        "server.port": "PORT is not set",
        "server.api_key": "KEY is not set",
        "labels.allow[1]": "LABEL is not set",
    }
    assert (settings.github.access_tokens, settings.server.port, settings.labels.allow) == (
        ("t",),
        8000,
        ("bug",),
    )


def test_settings_load_without_the_key_of_the_app(tmp_path: Path) -> None:
    app = 'app: {id: "${APP_ID}", private_key_path: /nowhere/app.pem}'
    settings = load_unset(tmp_path, SMALLEST.replace('token: "${GITHUB_TOKEN}"', app))
    assert settings.github.app is None
    assert settings.unset["github.app.id"] == "APP_ID is not set"
    key_problem = "the file /nowhere/app.pem cannot be read: No such file or directory"
    assert settings.unset["github.app.private_key"] == key_problem


def test_required_key_that_is_no_secret_needs_its_variable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        load_unset(tmp_path, SMALLEST.replace("owner/repo", '"${REPOSITORY}"'))
    (problem,) = raised.value.problems
    assert (
        problem == f"{tmp_path}/settings.yaml:7: repositories[0].name: REPOSITORY is not set; it is"
        " required"
    )


def test_prompt_folder_that_does_not_exist_yet_is_a_warning(tmp_path: Path) -> None:
    text = f"{SMALLEST}prompts: {{directory: [{tmp_path}/my-prompts, shipped]}}\n"
    (warning,) = load(tmp_path, text).warnings
    assert warning.endswith(
        f"(prompts.directory[0]): there is no folder {tmp_path}/my-prompts yet, so it counts as"
        " empty"
    )
    (tmp_path / "my-prompts").mkdir()
    assert load(tmp_path, text).warnings == ()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://github.com", "https://api.github.com"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com"),
        ("https://api.acme.ghe.com", "https://api.acme.ghe.com"),
        ("https://ghe.example.com/api/v3", "https://ghe.example.com/api/v3"),
    ],
)
def test_address_of_github_is_that_of_its_api(tmp_path: Path, given: str, used: str) -> None:
    text = SMALLEST.replace("github:\n", f"github:\n  base_url: {given}\n")
    assert load(tmp_path, text).github.base_url == used
