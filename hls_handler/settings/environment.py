"""Variables of the environment and of `.env`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from urllib.parse import unquote

from dotenv.parser import parse_stream

from hls_handler.errors import SettingsError
from hls_handler.settings.problems import Kind, Sentence

PROXY_VARIABLES = ("HTTPS_PROXY", "ALL_PROXY")
"""The first of these that is set is the proxy's URL; a name in lower case takes precedence over
upper case.
"""

NO_PROXY_VARIABLES = ("NO_PROXY",)

CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""The first of these that is set is the path of a PEM file, or of a folder in the layout of
OpenSSL's `c_rehash`.
"""


def both_cases(*names: str) -> Iterator[str]:
    """Yield each name in lower case, then as given: "https_proxy", "HTTPS_PROXY"."""
    for name in names:
        yield name.lower()
        yield name


def export_proxy_settings(environ: MutableMapping[str, str], dotenv: Path) -> None:
    """Copy proxy and certificate variables from `dotenv` to `environ`, where libraries read them.

    Variables that `environ` already has are kept. An invalid `dotenv` is ignored here;
    `load_settings` reports it.
    """
    try:
        variables = read_environment(environ, dotenv)
    except SettingsError:
        return
    for name in (*both_cases(*PROXY_VARIABLES, *NO_PROXY_VARIABLES), *CA_VARIABLES):
        if name in variables:
            environ[name] = variables[name]


def read_environment(environ: Mapping[str, str], dotenv: Path | None) -> Mapping[str, str]:
    """Return the variables of the file `dotenv`, if it exists, overridden by those of `environ`.

    References such as `${A}` in values are not expanded. Raises `SettingsError` if the file cannot
    be read or has invalid lines; the message has the line numbers, never the text.
    """
    if dotenv is None or not dotenv.is_file():
        return dict(environ)
    bindings = []
    problem = ""
    try:
        with dotenv.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except OSError as exc:
        problem = f"cannot be read: {exc.strerror}"
    except UnicodeDecodeError:
        problem = "not UTF-8; save the file as UTF-8"
    # raised outside of `except`: a decoding error contains the bytes of the file, which has secrets
    if problem:
        raise SettingsError([Sentence(f"{dotenv.absolute()}: {problem}", Kind.SECRET_FILE)])
    broken = [binding.original.line for binding in bindings if binding.error]
    if broken:
        where = dotenv.absolute()
        lines = [f"{where}:{line}: invalid line; expected NAME=value" for line in broken]
        raise SettingsError([Sentence(line, Kind.SECRET_FILE) for line in lines])
    return {b.key: b.value for b in bindings if b.key is not None and b.value is not None} | dict(
        environ
    )


def proxy_passwords(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the passwords in the proxy variables, as written and percent-decoded, so that they can
    be redacted.
    """
    passwords = set[str]()
    for variable in both_cases(*PROXY_VARIABLES):
        credentials, _, _ = environ.get(variable, "").rpartition("@")
        _, _, password = credentials.removeprefix("http://").partition(":")
        if password:
            passwords |= {password, unquote(password)}
    return frozenset(passwords)
