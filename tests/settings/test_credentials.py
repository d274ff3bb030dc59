"""The credential for GitHub: a token, several tokens or a GitHub App with its private key."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest
from pydantic import SecretStr

from hls_handler.errors import SettingsError
from hls_handler.settings.load import collect_secrets, load_settings
from hls_handler.settings.reload import SettingsFile, plan_reload
from hls_handler.untrusted.redaction import redact
from tests.settings.files import SMALLEST, VARIABLES, app_key, load, problems

TOKEN_LINE = '  token: "${GITHUB_TOKEN}"\n'
INLINE = SMALLEST.replace(TOKEN_LINE, '  app: {id: "${APP_ID}", private_key: "${KEY}"}\n')
IN_FILE = SMALLEST.replace(TOKEN_LINE, "  app: {id: 7, private_key_path: app.pem}\n")


def test_the_key_of_the_app_is_required_once(tmp_path: Path) -> None:
    missing = SMALLEST.replace(TOKEN_LINE, "  app: {id: 7}\n")
    assert problems(tmp_path, missing) == [
        "settings.yaml:2: github.app.private_key: is missing; expected text"
    ]
    both = "  app: {id: 7, private_key_path: app.pem, private_key: '${KEY}'}\n"
    assert problems(
        tmp_path, SMALLEST.replace(TOKEN_LINE, both), VARIABLES | {"KEY": app_key()}
    ) == [
        (
            "settings.yaml:2: github.app.private_key: set exactly one of private_key and"
            " private_key_path; both are set"
        )
    ]


PLACEHOLDER = "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize("key", ["your-private-key", PLACEHOLDER, "ec", "rsa 1024"])
def test_a_text_that_is_no_private_rsa_key_is_an_error_with_file_and_line(
    tmp_path: Path, key: str
) -> None:
    problem = (
        "is not an RSA private key of at least 2048 bits in PEM form without a passphrase; expected"
        " the file that GitHub offers at `Generate a private key` on the App's page"
    )
    text = app_key(key) if key in ("ec", "rsa 1024") else key
    variables = VARIABLES | {"APP_ID": "7", "KEY": text}
    assert problems(tmp_path, INLINE, variables) == [
        f"settings.yaml:2: github.app.private_key: {problem}"
    ]
    path = tmp_path / "app.pem"
    path.write_text(text)
    (tmp_path / "settings.yaml").write_text(IN_FILE.replace("app.pem", str(path)))
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path / "settings.yaml", VARIABLES, dotenv=None)
    assert (
        str(caught.value)
        == f"{tmp_path}/settings.yaml:2: github.app.private_key: the file {path} {problem}"
    )


def test_the_key_is_a_secret_of_the_settings_and_may_be_in_one_line(tmp_path: Path) -> None:
    variables = VARIABLES | {"APP_ID": "7", "KEY": app_key().replace("\n", "\\n")}
    settings = load(tmp_path, INLINE, variables)
    assert settings.github.app is not None
    assert (settings.github.app.id, settings.github.app.rsa_key.key_size) == (7, 2048)
    assert "BEGIN" not in repr(settings) + str(settings.github.app)
    assert app_key().strip() in collect_secrets(load(tmp_path, IN_FILE))


FROM_FILES = """\
server: {api_key_path: console.key}
github: {token_path: token, webhook_secret_path: webhook}
claude: {api_key_path: claude.key, fallbacks: [{kind: anthropic, name: spare, api_key_path: spare.key}]}
repositories: [{name: octo/widgets, webhook_secret_path: own}]
storage: {url_path: database}
"""
FILES = {
    "console.key": "key-of-the-console\n",
    "token": "ghp_0123456789\r\n",
    "webhook": "\ufeffthe-new-secret-of-the-hook\n\nthe-old-secret-of-the-hook\n",
    "claude.key": "sk-ant-first",
    "spare.key": "sk-ant-spare\n",
    "database": "postgresql+psycopg://hls:0123456789@db/hls\n",
    "own": "secret-of-one-repository\n",
}


def write_secrets(folder: Path, **changed: str) -> Path:
    for name, text in (FILES | changed).items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    path = folder / "settings.yaml"
    text = FROM_FILES
    for name in FILES:
        text = text.replace(f"_path: {name}", f"_path: {folder / name}")
    path.write_text(text)
    return path


def test_every_secret_can_be_read_from_a_file(tmp_path: Path) -> None:
    settings = load_settings(write_secrets(tmp_path), {}, dotenv=None)
    assert settings.server.api_key == SecretStr("key-of-the-console")
    assert settings.github.access_tokens == ("ghp_0123456789",)
    hook = (SecretStr("the-new-secret-of-the-hook"), SecretStr("the-old-secret-of-the-hook"))
    assert settings.github.webhook_secret == hook
    assert [one.api_key.get_secret_value() for one in settings.claude.providers.values()] == [
        "sk-ant-first",
        "sk-ant-spare",
    ]
    assert settings.repositories[0].webhook_secret == (SecretStr("secret-of-one-repository"),)
    assert (settings.storage.url, settings.warnings) == (
        "postgresql+psycopg://hls:0123456789@db/hls",
        (),
    )


def test_a_file_of_a_secret_that_cannot_be_used_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = write_secrets(tmp_path, token="\n", webhook="short\n")
    (tmp_path / "claude.key").unlink()
    path.write_text(
        path.read_text().replace("server: {", "server: {api_key: written-into-the-settings, ")
    )
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {}, dotenv=None)
    assert caught.value.problems == (
        f"{path}:1: server.api_key: set exactly one of api_key and api_key_path; both are set",
        f"{path}:2: github.token: the file {tmp_path / 'token'} is empty; write the secret to it",
        (
            f"{path}:2: github.webhook_secret[0]: the file {tmp_path / 'webhook'} is shorter than"
            " 16 bytes; generate one with: openssl rand -hex 32"
        ),
        (
            f"{path}:3: claude.api_key: the file {tmp_path / 'claude.key'} cannot be read: No such"
            " file or directory"
        ),
    )
    assert redact(str(caught.value)) == str(caught.value)  # in the log


@pytest.mark.parametrize(
    "value",
    ["", "''", '"a\\0b"', '"\\ud800"', "[a]"],
    ids=["null", "empty", "NUL", "surrogate", "list"],
)
def test_a_path_of_a_secret_that_no_file_can_have_is_an_error(tmp_path: Path, value: str) -> None:
    text = SMALLEST.replace(TOKEN_LINE, f"  token_path: {value}\n")
    assert problems(tmp_path, text) == [
        (
            "settings.yaml:2: github.token: token_path is not the path of a file; if it is optional,"
            " remove the key"
        )
    ]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("  token_path: /run/${X}\n", "github.token"),
        ("  app: {id: 7, private_key_path: '${X}'}\n", "github.app.private_key"),
    ],
)
def test_an_unset_variable_in_the_path_of_a_secret_is_one_error(
    tmp_path: Path, line: str, key: str
) -> None:
    assert problems(tmp_path, SMALLEST.replace(TOKEN_LINE, line)) == [
        f"settings.yaml:2: {key}: the variable X is not set; set it in the environment or in .env"
    ]


def test_a_secret_is_not_read_from_a_pipe_which_may_never_end(tmp_path: Path) -> None:
    path = write_secrets(tmp_path)
    (tmp_path / "token").unlink()
    os.mkfifo(tmp_path / "token")
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {}, dotenv=None)
    problem = (
        f"{path}:2: github.token: the file {tmp_path / 'token'} cannot be read: it is not a regular"
        " file"
    )
    assert caught.value.problems == (problem,)


@pytest.mark.parametrize(("mode", "is_exposed"), [(0o640, False), (0o644, True)])
def test_rule_21_a_secret_file_that_others_can_read_causes_a_warning(
    tmp_path: Path, mode: int, is_exposed: bool
) -> None:
    key, dotenv, path = tmp_path / "app.pem", tmp_path / ".env", tmp_path / "settings.yaml"
    key.write_text(app_key())
    dotenv.write_text("UNUSED=1\n")
    path.write_text(IN_FILE.replace("app.pem", str(key)))
    for file in (key, dotenv):
        file.chmod(mode)
    expected = (
        (
            f"{path}:2 (github.app.private_key): other users of this machine can read {key}; run"
            " chmod 600 on it"
        ),
        f"{dotenv}: other users of this machine can read this file; run chmod 600 on it",
    )
    assert load_settings(path, VARIABLES, dotenv=dotenv).warnings == (
        expected if is_exposed else ()
    )


def test_a_changed_key_file_is_a_change_of_the_settings(tmp_path: Path) -> None:
    key, path = tmp_path / "app.pem", tmp_path / "settings.yaml"
    key.write_text(app_key())
    path.write_text(IN_FILE.replace("app.pem", str(key)))
    # in the future, so that every change is old enough
    clock = count(2_000_000_000_000_000_000, 1_000_000_000)
    file = SettingsFile(path, VARIABLES, dotenv=None, clock_ns=lambda: next(clock))
    assert not file.has_changed()
    key.write_text("half of a ke")
    assert file.has_changed()
    with pytest.raises(Exception, match=r"app\.pem is not an RSA private key"):
        file.read()
    assert not file.has_changed()
    key.unlink()
    assert file.has_changed()
    with pytest.raises(Exception, match="No such file"):
        file.read()
    key.write_text(app_key())
    os.utime(key, ns=(1, 1))
    assert file.has_changed()
    assert file.read() == file.initial
    assert plan_reload(file.initial, file.read()).changed == ()


def test_the_key_of_the_credential_is_named(tmp_path: Path) -> None:
    tokens = load(tmp_path, SMALLEST.replace(TOKEN_LINE, "  tokens: [first, second]\n")).github
    assert (tokens.credential_key, tokens.tokens) == (
        "github.tokens",
        (SecretStr("first"), SecretStr("second")),
    )
    assert load(tmp_path, IN_FILE).github.credential_key == "github.app"
    assert load(tmp_path, SMALLEST).github.credential_key == "github.token"
