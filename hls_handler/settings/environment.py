"""Variables for the settings file, from the process environment and `.env`, and the three credentials among them.

`make run` serves if all credentials are set, shows the demo if none is, and fails if only some are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from dotenv.parser import parse_stream
from pydantic import SecretStr

from hls_handler.errors import SettingsError

PROXY_VARIABLES = ("HTTPS_PROXY", "ALL_PROXY")
"""The first that is set names the proxy; lower case takes precedence."""

NO_PROXY_VARIABLES = ("NO_PROXY",)

CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""The first that is set names a PEM file or a folder in the layout of `c_rehash`."""


def both_cases(*names: str) -> Iterator[str]:
    """Yield each name in lower case, then as given."""
    for name in names:
        yield name.lower()
        yield name


def export_proxy_settings(environ: MutableMapping[str, str], dotenv: Path) -> None:
    """Copy proxy and certificate variables that are only in `dotenv` into `environ`, where libraries read them.

    An unreadable file is ignored here; loading the settings reports it.
    """
    try:
        variables = read_environment(environ, dotenv)
    except SettingsError:
        return
    for name in (*both_cases(*PROXY_VARIABLES, *NO_PROXY_VARIABLES), *CA_VARIABLES):
        if name in variables:
            environ[name] = variables[name]


def read_environment(environ: Mapping[str, str], dotenv: Path | None) -> Mapping[str, str]:
    """Variables of `dotenv`, overridden by `environ`; the file may be missing.

    Variables inside values are not expanded. Raises `SettingsError` with the numbers of the invalid lines, never their
    text.
    """
    if dotenv is None or not dotenv.is_file():
        return dict(environ)
    bindings, problem = [], ""
    try:
        with dotenv.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except OSError as exc:
        problem = f"cannot be read: {exc.strerror}"
    except UnicodeDecodeError:
        problem = "not UTF-8; save the file as UTF-8"
    if problem:  # raised outside of `except`: a decoding error contains the bytes of the file, which has secrets
        raise SettingsError([f"{dotenv}: {problem}"])
    broken = [binding.original.line for binding in bindings if binding.error]
    if broken:
        raise SettingsError([f"{dotenv}:{line}: invalid line; expected NAME=value" for line in broken])
    return {b.key: b.value for b in bindings if b.key is not None and b.value is not None} | dict(environ)


CREDENTIALS = ("GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET", "ANTHROPIC_API_KEY")


def find_missing_credentials(environ: Mapping[str, str], dotenv: Path | None) -> tuple[str, ...]:
    """Names of the credentials that are not set or blank. Raises `SettingsError` if `.env` cannot be read."""
    variables = read_environment(environ, dotenv)
    return tuple(name for name in CREDENTIALS if not variables.get(name, "").strip())


def with_dummy_credentials(environ: Mapping[str, str], dotenv: Path | None) -> Mapping[str, str]:
    """The environment with a dummy value for each missing credential, for commands that do not need all of them.

    Raises `SettingsError` as `find_missing_credentials` does.
    """
    return {**environ, **{name: _dummy_value(name) for name in find_missing_credentials(environ, dotenv)}}


def find_missing(secret: SecretStr) -> str | None:
    """Return the name of the missing variable if a setting has its dummy value, else None."""
    return next((name for name in CREDENTIALS if secret.get_secret_value() == _dummy_value(name)), None)


def _dummy_value(name: str) -> str:
    return f"{name}-is-not-set"
