"""Variables for the settings file, from the process environment and `.env`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from dotenv.parser import parse_stream

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
