"""The variables that settings may name: those of the process, and those of `.env` where the process has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from dotenv.parser import parse_stream

from hls_handler.errors import SettingsError

PROXIES = ("HTTPS_PROXY", "ALL_PROXY")
"""The first that is set names a proxy; in lower case they count for more."""

EXCEPTED = ("NO_PROXY",)

AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""The first that is set names a PEM file, or a folder as `c_rehash` makes it."""


def either_case(*names: str) -> Iterator[str]:
    for name in names:
        yield name.lower()
        yield name


def adopt_way_out(environ: MutableMapping[str, str], dotenv: Path) -> None:
    """Give the process what only `dotenv` says of proxies and authorities: they are no settings, and yet belong there.

    A file that cannot be read says nothing here; whoever reads the settings tells of it.
    """
    try:
        said = read_environment(environ, dotenv)
    except SettingsError:
        return
    for name in (*either_case(*PROXIES, *EXCEPTED), *AUTHORITIES):
        if name in said:
            environ[name] = said[name]


def read_environment(environ: Mapping[str, str], dotenv: Path | None) -> Mapping[str, str]:
    """`environ` laid over what `dotenv` says; a missing file says nothing.

    Values are taken as they stand: nothing inside them is expanded. Raises `SettingsError` naming the lines of a file
    that cannot be read, never their text.
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
    if problem:  # raised outside of `except`: a decoding error carries the file's bytes, which hold secrets
        raise SettingsError([f"{dotenv}: {problem}"])
    broken = [binding.original.line for binding in bindings if binding.error]
    if broken:
        raise SettingsError([f"{dotenv}:{line}: not understood; expected NAME=value" for line in broken])
    return {b.key: b.value for b in bindings if b.key is not None and b.value is not None} | dict(environ)
