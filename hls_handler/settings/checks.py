"""Problems of a settings file as sentences: checks beyond types (secrets, event names, URLs), and pydantic's errors.

The checks read the parsed tree instead of the model, so that all problems are reported even if the model cannot be
built. They skip values of a wrong type, because `explain` reports them. Messages never contain secrets.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from hls_handler.settings.github_events import find_event_problem
from hls_handler.settings.globs import find_glob_problem
from hls_handler.settings.reference import Reference
from hls_handler.untrusted.cleaning import remove_invisible

MIN_SECRET_BYTES = 16
SHELL_VARIABLE = re.compile(r"\$\w+")  # shell syntax that `expand` does not expand
RESERVED_PATHS = ("/health", "/stats")

CONVERSATION_EVENTS = frozenset(
    {
        "issues",
        "issue_comment",
        "pull_request",
        "pull_request_review",
        "pull_request_review_comment",
        "pull_request_review_thread",
    }
)
"""Events that always have a conversation."""

Problem = tuple[str, str]  # key path and sentence
_BOOLEAN = TypeAdapter(bool)


def find_problems(root: object) -> Iterator[Problem]:
    """Yield the key path and sentence of every problem in the file."""
    repositories = _repository_entries(root)
    yield from _check_secrets(root, "github.webhook_secret")
    yield from _check_secrets(root, "server.api_key")
    for index, _ in enumerate(repositories):
        yield from _check_secrets(root, f"repositories[{index}].webhook_secret")
    yield from _check_credentials(root)
    yield from _check_signature_validation(root)
    yield from _check_duplicate_repositories(repositories)
    yield from _check_event_names(root, repositories)
    yield from _check_fallback_events(root, repositories)
    for index, _ in enumerate(repositories):
        yield from _check_globs(root, f"repositories[{index}].paths.ignore")
    if value_at(root, "prompts.directory") == []:
        yield "prompts.directory", "is an empty list; name at least one folder"
    yield from _check_database_url(root)
    for key in ("github.base_url", "claude.base_url"):
        yield from _check_base_url(root, key)
    if value_at(root, "server.webhook_path") in RESERVED_PATHS:
        yield (
            "server.webhook_path",
            f"is used by the service itself, which serves {' and '.join(RESERVED_PATHS)}; choose another",
        )


def is_loopback(host: str) -> bool:
    """Return True if the host is a loopback address or "localhost"."""
    name = host.strip("[]").lower()
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def value_at(root: object, path: str) -> object:
    """Return the value at a path such as "server.host" or "repositories[2].events"; None if there is none."""
    value = root
    for step in path.replace("[", ".[").split("."):
        if step.startswith("[") and isinstance(value, list):
            value = value[int(step[1:-1])]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def _repository_entries(root: object) -> list[object]:
    entries = value_at(root, "repositories")
    return entries if isinstance(entries, list) else []


def _strings_at(root: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and value of the strings of a key that takes a string or a list of strings."""
    value = value_at(root, path)
    if isinstance(value, list):
        yield from ((f"{path}[{i}]", item) for i, item in enumerate(value) if isinstance(item, str))
    elif isinstance(value, str):
        yield path, value


def _find_secret_problem(secret: str) -> str | None:
    if not secret.strip():
        return "is empty"
    if secret != secret.strip():
        return "starts or ends with white space; remove it (often a line break from a file)"
    if "${" in secret:
        return "still contains ${...} after expansion; check the value of the variable"
    if SHELL_VARIABLE.fullmatch(secret):
        return "is a $ and a name, probably an unexpanded variable; write ${NAME}, or set the variable"
    if not any(character.isprintable() and not character.isspace() for character in remove_invisible(secret)):
        return "contains no visible character; copy it again"
    return None


def _check_secrets(root: object, path: str) -> Iterator[Problem]:
    if value_at(root, path) == []:
        yield path, "is an empty list; name at least one secret"
    for where, secret in _strings_at(root, path):
        problem = _find_secret_problem(secret)
        if problem is None and len(secret.encode("utf-8", "surrogatepass")) < MIN_SECRET_BYTES:
            problem = f"is shorter than {MIN_SECRET_BYTES} bytes; generate one with: openssl rand -hex 32"
        if problem:
            optional = "; remove the key instead" if not path.startswith("github.") and problem == "is empty" else ""
            yield where, problem + optional


def _check_credentials(root: object) -> Iterator[Problem]:
    for path in ("github.token", "claude.api_key"):
        for where, secret in _strings_at(root, path):
            problem = _find_secret_problem(secret)
            if problem is None and not (secret.isascii() and secret.isprintable()):
                problem = "contains a character that is not allowed in HTTP headers; copy it again"
            if problem:
                yield where, problem


def _check_signature_validation(root: object) -> Iterator[Problem]:
    host = value_at(root, "server.host")
    is_validated = value_at(root, "features.signature_validation")
    if is_false(is_validated) and isinstance(host, str) and not is_loopback(host):
        sentence = f"false is allowed on a loopback host only, and server.host is {host}; anyone could send events"
        yield "features.signature_validation", sentence


def is_false(value: object) -> bool:
    """Return True if the model would parse the value as false: "off" from a variable is false, too."""
    try:
        return value is not None and not _BOOLEAN.validate_python(value)
    except ValidationError:
        return False


def _check_duplicate_repositories(entries: list[object]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, _ in enumerate(entries):
        name = value_at(entries[index], "name")
        if isinstance(name, str) and first.setdefault(name.lower(), index) != index:
            yield f"repositories[{index}].name", f"{name} is already repositories[{first[name.lower()]}]; remove one"


def _check_event_names(root: object, entries: list[object]) -> Iterator[Problem]:
    maps = ["prompts.use"]
    for index, _ in enumerate(entries):
        for where, event in _strings_at(root, f"repositories[{index}].events"):
            problem = find_event_problem(event)
            if problem:
                yield where, problem
        maps += [f"repositories[{index}].prompts.use", f"repositories[{index}].comments.post_to"]
    for path in maps:
        by_event = value_at(root, path)
        for event in by_event if isinstance(by_event, dict) else ():
            problem = find_event_problem(event)
            if problem:
                yield f"{path}.{event}", problem


def _check_fallback_events(root: object, entries: list[object]) -> Iterator[Problem]:
    for index, _ in enumerate(entries):
        path = f"repositories[{index}].comments.post_to"
        by_event = value_at(root, path)
        for event in by_event if isinstance(by_event, dict) else ():
            if event.partition(".")[0] in CONVERSATION_EVENTS:
                yield (
                    f"{path}.{event}",
                    f"{event} has a conversation of its own, which receives the comment; remove the key",
                )


def _check_globs(root: object, path: str) -> Iterator[Problem]:
    for where, glob in _strings_at(root, path):
        problem = find_glob_problem(glob)
        if problem:
            yield where, problem


def _check_database_url(root: object) -> Iterator[Problem]:
    url = value_at(root, "storage.url")
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
        yield (
            "storage.url",
            "a database in memory loses everything at a restart; name a file, as in sqlite:///data/hls.db",
        )
    elif scheme == "sqlite" and "?" in rest:
        yield "storage.url", "SQLite takes no options here, and the name of the file must not contain a ?"
    elif scheme != "sqlite" and rest.partition("?")[0].count("@") > 1:
        yield "storage.url", "more than one @; write one that is part of the user's name or password as %40"


def _check_base_url(root: object, path: str) -> Iterator[Problem]:
    url = value_at(root, path)
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
        yield path, "contains a user name or password; credentials have their own key"
    if parts.query or parts.fragment:
        yield path, "contains ? or #; expected scheme, host and path only"
    if parts.scheme == "https" and not host:
        yield path, "names no host; expected one such as https://api.example.com"
    if parts.scheme == "http" and not is_loopback(host):
        yield (
            path,
            f"http:// to {host or 'no host'} would send the key unencrypted; use https:// (http is for loopback only)",
        )


Step = str | int


def explain(error: ValidationError, root: object, variables: Mapping[str, str], reference: Reference) -> dict[str, str]:
    """Sentence for each key path: {"limits.concurrency": 'found "many", expected a whole number from 1 to 200'}.

    `root` is the tree that was validated; `variables` maps the key paths of expanded values to their variables.
    """
    sentences: dict[str, str] = {}
    for found in error.errors(include_url=False, include_input=False):
        path, value = _locate(root, found["loc"], found["type"])
        if found["type"] == "extra_forbidden":
            name = str(found["loc"][-1])
            sentences[path] = unknown_key(_section_of(path, name), name, reference)
        elif found["type"] == "missing":
            sentences[path] = f"is missing; expected {_describe_expected(path, reference)}"
        else:
            sentences[path] = _describe_wrong_value(path, value, variables, reference)
    return {path: text for path, text in sentences.items() if not _is_parent(path, sentences)}


def _locate(root: object, steps: Sequence[Step], kind: str) -> tuple[str, object]:
    """Key path of an error and the value there, without the union members that pydantic adds to the steps."""
    path, value = "", root
    for position, step in enumerate(steps):
        missing_here = kind == "missing" and position == len(steps) - 1
        if missing_here or (isinstance(value, dict) and step in value):
            path = f"{path}.{step}" if path else str(step)
            value = value.get(step) if isinstance(value, dict) else None
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            path, value = f"{path}[{step}]", value[step]
    return path, value


def _is_parent(path: str, others: Mapping[str, str]) -> bool:
    """Return True if another path is below this one: `webhook_secret[1]` is more precise than `webhook_secret`."""
    return any(other != path and other.startswith((f"{path}.", f"{path}[")) for other in others)


def _describe_expected(path: str, reference: Reference) -> str:
    key = reference.find(path)
    return key.expected if key else "something else"


def _describe_wrong_value(path: str, value: object, variables: Mapping[str, str], reference: Reference) -> str:
    expected = _describe_expected(path, reference)
    if value is None:
        return f"has no value, expected {expected}; remove the key to take the default"
    quotes = (
        "; put the value in quotes" if expected.startswith("text") and isinstance(value, bool | int | float) else ""
    )
    return f"found {_describe_found(path, value, variables, reference)}, expected {expected}{quotes}"


def _describe_found(path: str, value: object, variables: Mapping[str, str], reference: Reference) -> str:
    """A value for an error message; in full only if it is a literal value in the file, of a key that is not secret."""
    key = reference.find(path)
    if isinstance(value, dict | list):
        kind = "map" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    if path in variables:
        return f"the value of the variable {variables[path]}"
    if key is None or key.secret or key.kind == "section":
        return "text" if isinstance(value, str) else "a value of another kind"
    written = json.dumps(value, ensure_ascii=False)
    return written if len(written) <= 60 else f"{written[:57]}..."


def _section_of(path: str, name: str) -> str:
    """Section of the key `name`, which may itself contain dots and is therefore cut off by length."""
    return path[: -len(name)].rstrip(".")


def unknown_key(section: str, name: str, reference: Reference) -> str:
    """Sentence such as "unknown key; did you mean server.port?". Keys of the same section are preferred."""
    if reference.find(name) and "." in name:
        return f"unknown key; write it as {name.rpartition('.')[2]} inside the section {name.rpartition('.')[0]}"
    siblings = {known: f"{section}.{known}" if section else known for known in reference.names_in(section)}
    elsewhere = [key.path.rpartition(".")[0] for key in reference.keys if key.path.rpartition(".")[2] == name]
    if elsewhere:
        return f"unknown key; {name} belongs under {' or '.join(elsewhere)}"
    everywhere = {row.path.rpartition(".")[2]: row.path for row in reversed(reference.rows)} | siblings
    near = difflib.get_close_matches(name, everywhere, n=1, cutoff=0.6)
    if near:
        return f"unknown key; did you mean {everywhere[near[0]]}?"
    return f"unknown key; {section or 'the file'} has {', '.join(siblings)}"
