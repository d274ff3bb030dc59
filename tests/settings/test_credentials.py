"""The credential for GitHub: a token, several tokens or a GitHub App with its private key."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest
from pydantic import SecretStr

from hls_handler.settings.load import SettingsFile, collect_secrets, load_settings, plan_reload
from tests.settings.files import SMALLEST, VARIABLES, app_key, load, problems

TOKEN_LINE = '  token: "${GITHUB_TOKEN}"\n'
INLINE = SMALLEST.replace(TOKEN_LINE, '  app: {id: "${APP_ID}", private_key: "${KEY}"}\n')
IN_FILE = SMALLEST.replace(TOKEN_LINE, "  app: {id: 7, private_key_path: app.pem}\n")


@pytest.mark.parametrize(
    ("keys", "given"),
    [("", "none is"), (", private_key_path: app.pem, private_key: '${KEY}'", "both are")],
)
def test_exactly_one_key_of_the_app_is_required(tmp_path: Path, keys: str, given: str) -> None:
    text = SMALLEST.replace(TOKEN_LINE, f"  app: {{id: 7{keys}}}\n")
    assert problems(tmp_path, text, VARIABLES | {"KEY": app_key()}) == [
        f"settings.yaml:2: github.app: set exactly one of private_key and private_key_path; {given} set"
    ]


PLACEHOLDER = "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize("key", ["your-private-key", PLACEHOLDER, "ec", "rsa 1024"])
def test_a_text_that_is_no_private_rsa_key_is_an_error_with_file_and_line(tmp_path: Path, key: str) -> None:
    problem = (
        "is not an RSA private key of at least 2048 bits in PEM form without a passphrase; expected the file that "
        "GitHub offers at `Generate a private key` on the App's page"
    )
    text = app_key(key) if key in ("ec", "rsa 1024") else key
    variables = VARIABLES | {"APP_ID": "7", "KEY": text}
    assert problems(tmp_path, INLINE, variables) == [f"settings.yaml:2: github.app.private_key: {problem}"]
    path = tmp_path / "app.pem"
    path.write_text(text)
    (tmp_path / "settings.yaml").write_text(IN_FILE.replace("app.pem", str(path)))
    with pytest.raises(Exception, match="private_key_path") as caught:
        load_settings(tmp_path / "settings.yaml", VARIABLES, dotenv=None)
    assert str(caught.value) == (
        f"{tmp_path}/settings.yaml:2: github.app.private_key_path: the key in {path} {problem}"
    )


def test_the_key_is_a_secret_of_the_settings_and_may_be_in_one_line(tmp_path: Path) -> None:
    variables = VARIABLES | {"APP_ID": "7", "KEY": app_key().replace("\n", "\\n")}
    settings = load(tmp_path, INLINE, variables)
    assert settings.github.app is not None
    assert (settings.github.app.id, settings.github.app.rsa_key.key_size) == (7, 2048)
    assert "BEGIN" not in repr(settings) + str(settings.github.app)
    assert app_key() in collect_secrets(load(tmp_path, IN_FILE))


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
        f"{path}:2 (github.app.private_key_path): other users of this machine can read {key}; run chmod 600 on it",
        f"{dotenv}: other users of this machine can read this file; run chmod 600 on it",
    )
    assert load_settings(path, VARIABLES, dotenv=dotenv).warnings == (expected if is_exposed else ())


def test_a_changed_key_file_is_a_change_of_the_settings(tmp_path: Path) -> None:
    key, path = tmp_path / "app.pem", tmp_path / "settings.yaml"
    key.write_text(app_key())
    path.write_text(IN_FILE.replace("app.pem", str(key)))
    clock = count(2_000_000_000_000_000_000, 1_000_000_000)  # in the future, so that every change is old enough
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
    assert (tokens.credential_key, tokens.tokens) == ("github.tokens", (SecretStr("first"), SecretStr("second")))
    assert load(tmp_path, IN_FILE).github.credential_key == "github.app"
    assert load(tmp_path, SMALLEST).github.credential_key == "github.token"
