"""What a settings file must also be, beyond the types of its keys: safe secrets, known events, sane addresses.

The checks read the tree and not the model, so that they all speak even where the model cannot be built; what has the
wrong type is passed over here, because `explain` names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from hls_handler.settings.github_events import complaint
from hls_handler.settings.globs import flaw_of
from hls_handler.untrusted.cleaning import without_invisible

MIN_SECRET_BYTES = 16
NAME_OF_VARIABLE = re.compile(r"\$\w+")  # a shell's spelling, which `expand` leaves alone
OWN_PATHS = ("/health", "/stats")

WITH_A_THREAD = frozenset(
    {
        "issues",
        "issue_comment",
        "pull_request",
        "pull_request_review",
        "pull_request_review_comment",
        "pull_request_review_thread",
    }
)
"""Events that are always about an issue or a pull request."""

Problem = tuple[str, str]  # key path and sentence
_BOOLEAN = TypeAdapter(bool)


def find_problems(root: object) -> Iterator[Problem]:
    """Every problem of the whole file, each with its key path."""
    repositories = _entries(root)
    yield from _weak_secrets(root, "github.webhook_secret")
    yield from _weak_secrets(root, "server.api_key")
    for index, _ in enumerate(repositories):
        yield from _weak_secrets(root, f"repositories[{index}].webhook_secret")
    yield from _unusable_credentials(root)
    yield from _unsigned_beyond_loopback(root)
    yield from _doubled_repositories(repositories)
    yield from _unknown_events(root, repositories)
    yield from _events_with_a_thread(root, repositories)
    for index, _ in enumerate(repositories):
        yield from _globs(root, f"repositories[{index}].paths.ignore")
    if _at(root, "prompts.directory") == []:
        yield "prompts.directory", "is an empty list; name at least one folder"
    yield from _database(root)
    for key in ("github.base_url", "claude.base_url"):
        yield from _address(root, key)
    if _at(root, "server.webhook_path") in OWN_PATHS:
        yield "server.webhook_path", f"is taken by the service itself, as are {' and '.join(OWN_PATHS)}; choose another"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    name = host.strip("[]").lower()
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _at(root: object, path: str) -> object:
    """The value at "server.host" or "repositories[2].events"; None where there is none."""
    value = root
    for step in path.replace("[", ".[").split("."):
        if step.startswith("[") and isinstance(value, list):
            value = value[int(step[1:-1])]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def _entries(root: object) -> list[object]:
    found = _at(root, "repositories")
    return found if isinstance(found, list) else []


def _texts(root: object, path: str) -> Iterator[tuple[str, str]]:
    """The texts of a key that takes one or a list of them, each with its path."""
    value = _at(root, path)
    if isinstance(value, list):
        yield from ((f"{path}[{i}]", item) for i, item in enumerate(value) if isinstance(item, str))
    elif isinstance(value, str):
        yield path, value


def _flaw(secret: str) -> str | None:
    if not secret.strip():
        return "is empty"
    if secret != secret.strip():
        return "starts or ends with white space; is a line break left from a file?"
    if "${" in secret:
        return "still holds ${...} after its variables were filled in; check the variable's value"
    if NAME_OF_VARIABLE.fullmatch(secret):
        return "is a $ and a name, as if a variable was not filled in; write ${NAME}, or give the variable its value"
    if not any(character.isprintable() and not character.isspace() for character in without_invisible(secret)):
        return "holds no visible character; copy it again"
    return None


def _weak_secrets(root: object, path: str) -> Iterator[Problem]:
    if _at(root, path) == []:
        yield path, "is an empty list; name at least one secret"
    for where, secret in _texts(root, path):
        flaw = _flaw(secret)
        if flaw is None and len(secret.encode("utf-8", "surrogatepass")) < MIN_SECRET_BYTES:
            flaw = f"is shorter than {MIN_SECRET_BYTES} bytes; make one with: openssl rand -hex 32"
        if flaw:
            optional = "; remove the key to do without" if not path.startswith("github.") and flaw == "is empty" else ""
            yield where, flaw + optional


def _unusable_credentials(root: object) -> Iterator[Problem]:
    for path in ("github.token", "claude.api_key"):
        for where, secret in _texts(root, path):
            flaw = _flaw(secret)
            if flaw is None and not (secret.isascii() and secret.isprintable()):
                flaw = "holds a character that no HTTP header can carry; copy it again"
            if flaw:
                yield where, flaw


def _unsigned_beyond_loopback(root: object) -> Iterator[Problem]:
    host = _at(root, "server.host")
    checked = _at(root, "features.signature_validation")
    if _is_false(checked) and isinstance(host, str) and not is_loopback(host):
        sentence = f"false is for a loopback host only, and server.host is {host}; anyone could send events"
        yield "features.signature_validation", sentence


def _is_false(value: object) -> bool:
    """As the model will read it: "off" from a variable is false too."""
    try:
        return value is not None and not _BOOLEAN.validate_python(value)
    except ValidationError:
        return False


def _doubled_repositories(entries: list[object]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, _ in enumerate(entries):
        name = _at(entries[index], "name")
        if isinstance(name, str) and first.setdefault(name.lower(), index) != index:
            yield f"repositories[{index}].name", f"{name} is already repositories[{first[name.lower()]}]; remove one"


def _unknown_events(root: object, entries: list[object]) -> Iterator[Problem]:
    uses = ["prompts.use"]
    for index, _ in enumerate(entries):
        for where, event in _texts(root, f"repositories[{index}].events"):
            wrong = complaint(event)
            if wrong:
                yield where, wrong
        uses += [f"repositories[{index}].prompts.use", f"repositories[{index}].comments.post_to"]
    for path in uses:
        chosen = _at(root, path)
        for event in chosen if isinstance(chosen, dict) else ():
            wrong = complaint(event)
            if wrong:
                yield f"{path}.{event}", wrong


def _events_with_a_thread(root: object, entries: list[object]) -> Iterator[Problem]:
    for index, _ in enumerate(entries):
        path = f"repositories[{index}].comments.post_to"
        chosen = _at(root, path)
        for event in chosen if isinstance(chosen, dict) else ():
            if event.partition(".")[0] in WITH_A_THREAD:
                yield f"{path}.{event}", f"{event} has a thread of its own, which gets the comment; remove the key"


def _globs(root: object, path: str) -> Iterator[Problem]:
    for where, glob in _texts(root, path):
        flaw = flaw_of(glob)
        if flaw:
            yield where, flaw


def _database(root: object) -> Iterator[Problem]:
    url = _at(root, "storage.url")
    if not isinstance(url, str):
        return
    scheme, _, rest = url.partition("://")
    if scheme in ("postgres", "postgresql"):
        yield "storage.url", f"found the scheme {scheme}; write postgresql+psycopg://"
    elif scheme not in ("sqlite", "postgresql+psycopg"):
        yield "storage.url", "expected sqlite:///a/file or postgresql+psycopg://user:password@host/name"
    elif scheme == "sqlite" and not rest.startswith("/"):
        yield (
            "storage.url",
            "expected three slashes before a relative path, sqlite:///data/hls.db, four before an absolute",
        )
    elif scheme == "sqlite" and rest in ("/", "/:memory:"):
        yield "storage.url", "a database in memory forgets everything; name a file, as in sqlite:///data/hls.db"
    elif scheme == "sqlite" and "?" in rest:
        yield "storage.url", "SQLite takes no options here, and a ? cannot be part of the file's name"
    elif scheme != "sqlite" and rest.partition("?")[0].count("@") > 1:
        yield "storage.url", "more than one @; write one that is part of the user's name or password as %40"


def _address(root: object, path: str) -> Iterator[Problem]:
    url = _at(root, path)
    if not isinstance(url, str):
        return
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        yield path, "is not an address; expected one such as https://api.example.com"
        return
    if parts.username or parts.password:
        yield path, "holds a user name or password; credentials have their own key"
    if parts.query or parts.fragment:
        yield path, "holds ? or #; expected scheme, host and path only"
    if parts.scheme == "https" and not host:
        yield path, "names no host; expected one such as https://api.example.com"
    if parts.scheme == "http" and not is_loopback(host):
        yield (
            path,
            f"http:// to {host or 'no host'} would send the key unencrypted; use https:// (http is for loopback)",
        )
