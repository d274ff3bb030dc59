"""Loads and reloads the settings file and `.env`. One error lists all problems, with secrets
masked.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from dotenv.parser import parse_stream
from pydantic import SecretStr, ValidationError

from hls_handler import shipped
from hls_handler.errors import SettingsError
from hls_handler.problems import Kind, Sentence, rephrase, with_kind
from hls_handler.settings.model import (
    RepositoryFeatures,
    Settings,
    describe_retirement,
    resolve_model,
)
from hls_handler.settings.reference import Reference, explain
from hls_handler.settings.removed import (
    describe_shadow_prompts,
    take_removed_keys,
    take_shadow_prompts,
)
from hls_handler.settings.values import OPTIONAL, is_false, is_loopback, is_unencrypted
from hls_handler.settings.yaml_parser import (
    Expansion,
    Sources,
    Tree,
    decode,
    expand,
    iter_leaves,
    key_path,
    list_at,
    parse_tree,
    value_at,
)

SETTINGS_FILE = Path("config/settings.yaml")


def _read_file(path: Path) -> bytes:
    """Return the content of a regular file. Of another one, such as a pipe, reading might never
    end: `OSError`.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "it is not a regular file")
    return path.read_bytes()


def find_settings_file(environ: Mapping[str, str]) -> Path:
    """Return the file in $HLS_CONFIG, else config/settings.yaml, else the shipped settings if there
    is no such file.
    """
    if environ.get("HLS_CONFIG"):
        return Path(environ["HLS_CONFIG"])
    try:
        SETTINGS_FILE.stat()
    except FileNotFoundError:
        return shipped.SETTINGS
    except OSError:  # a folder without permission: who reads the file reports it
        pass
    return SETTINGS_FILE


def load_settings(
    path: Path,
    environ: Mapping[str, str],
    *,
    dotenv: Path | None,
    allow_unset: bool = False,
    options: Mapping[str, object] = MappingProxyType({}),
    read_key: Callable[[Path], bytes] = _read_file,
) -> Settings:
    """Read a settings file, expand its variables, and validate its values.

    Variables that `environ` lacks are read from the file `dotenv`. `read_key` reads files of
    secrets, which keys such as `github.app.private_key_path` and `claude.api_key_path` name. Raises
    `SettingsError`, whose `problems` contain each mistake with its line:
    "/srv/hls/settings.yaml:12: server.prot: unknown key; ...".

    With `allow_unset`, unset or blank variables are no mistake: a secret gets a dummy value, any
    other optional key its default. `Settings.unset` lists them. `options` override keys of the
    section `server`: {"port": 8080}.
    """
    path = path.absolute()
    dotenv = dotenv and dotenv.absolute()
    tree = _read_tree(path, options)
    shadows = take_shadow_prompts(tree)
    removed = (*take_removed_keys(tree), *describe_shadow_prompts(tree, shadows))
    variables = read_environment(environ, dotenv)
    if allow_unset:
        variables = {name: value for name, value in variables.items() if value.strip()}
    expansion = expand(tree.root, variables, dotenv=str(dotenv or ".env"), allow_unset=allow_unset)
    secret_files = _SecretFiles(tree.lines, read_key)
    secret_files.replace_in(expansion.root)
    files = secret_files.files
    for key in [key for key in files if f"{key}_path" in expansion.problems]:
        expansion.problems[key] = expansion.problems.pop(f"{key}_path")
    if allow_unset:
        expansion.unset.update(secret_files.problems)
        _fill_required(expansion)
    problems: dict[str, str] = {}
    settings = None
    try:
        settings = Settings.model_validate(expansion.root)
    except ValidationError as error:
        problems = _explain(error, expansion)
    # not validated: finds problems beside other invalid values
    for key, sentence in _find_problems(expansion.root):
        problems.setdefault(key, with_kind(sentence, Kind.CONFLICT))
    for key, sentence in problems.items():
        file = files.get(re.sub(r"\[\d+\]$", "", key))
        if file is not None:
            # without these words, the log redacts its name
            problems[key] = rephrase(sentence, f"the file {file} {sentence}")
    # These replace other sentences about the same key, because its real value was not validated.
    problems |= tree.rejected
    if not allow_unset:
        problems |= _of_kind(Kind.SECRET_FILE, secret_files.problems)
    problems |= _of_kind(Kind.UNSET_VARIABLE, expansion.problems)
    # a missing folder alone is left to `load_checked`: some commands need no prompts
    if problems or tree.problems:
        folders = _of_kind(Kind.PROMPT_FILE, dict(_find_missing_folders(expansion.root)))
        problems = folders | problems
    lines = tree.format_problems(problems)
    if lines or settings is None:
        secrets = _collect_secrets(expansion, Reference())
        raise SettingsError([rephrase(line, masked(line, secrets)) for line in lines])
    sources = replace(tree.sources, options={f"server.{name}": f"--{name}" for name in options})
    exposed = _find_exposed_files(sources, dotenv, files)
    warnings = (*removed, *_find_warnings(settings, sources), *exposed)
    model = resolve_model(settings.claude.model)
    settings = settings.model_copy(
        update={"claude": settings.claude.model_copy(update={"model": model})}
    )
    settings._sources = sources
    settings._warnings = warnings
    settings._unset = expansion.unset
    settings._former_shadows = frozenset(shadows.values())
    return settings


def _of_kind(kind: Kind, problems: Mapping[str, str]) -> dict[str, str]:
    return {key: Sentence(sentence, kind) for key, sentence in problems.items()}


def _explain(error: ValidationError, expansion: Expansion) -> dict[str, str]:
    problems = explain(error, expansion.root, expansion.variables, Reference())
    for key in problems.keys() & expansion.unset:
        sentence = f"{expansion.unset[key]}; it is required"
        problems[key] = Sentence(sentence, Kind.UNSET_VARIABLE)
    return problems


def _read_tree(path: Path, options: Mapping[str, object]) -> Tree:
    try:
        tree = parse_tree(decode(path.read_bytes(), str(path)), str(path))
    except FileNotFoundError:
        raise SettingsError(
            [f"{path}: there is no such file; name another with --config or HLS_CONFIG"]
        ) from None
    except OSError as exc:
        raise SettingsError([f"{path}: cannot be read: {exc.strerror}"]) from None
    if not isinstance(tree.root, dict):
        raise SettingsError(
            [
                (
                    f"{path}: expected sections such as github:, claude: and repositories:; see"
                    f" {shipped.SETTINGS}"
                )
            ]
        )
    for key in [key for key in tree.root if key.startswith("x-")]:
        del tree.root[key]  # for anchors, as in Docker Compose
    if options and isinstance(tree.root.setdefault("server", {}), dict | None):
        tree.root["server"] = {**(tree.root["server"] or {}), **options}
    return tree


class _SecretFiles:
    """Replaces each key such as "claude.api_key_path" by "claude.api_key" with the text of the
    file.

    A key that accepts a list gets one secret for each line.
    """

    def __init__(self, lines: MutableMapping[str, int], read: Callable[[Path], bytes]) -> None:
        self.problems: dict[str, str] = {}  # by key path
        self.files: dict[str, Path] = {}  # by key path
        self._lines = lines
        self._read = read
        self._reference = Reference()

    def replace_in(self, part: object, path: str = "") -> None:
        if isinstance(part, list):
            for index, item in enumerate(part):
                self.replace_in(item, f"{path}[{index}]")
        if isinstance(part, dict):
            for name, value in [*part.items()]:
                if self._is_path_of_secret(key_path(path, name)):
                    del part[name]
                    self._replace(part, path, name, value)
                else:
                    self.replace_in(value, key_path(path, name))

    def _is_path_of_secret(self, path: str) -> bool:
        key = path.removesuffix("_path")
        secret = self._reference.find(key)
        if key == path or secret is None or self._reference.find(path) is not None:
            return False
        return secret.secret or key == "storage.url"  # whose password is a secret

    def _replace(self, part: dict[str, Any], path: str, name: str, value: object) -> None:
        base = name.removesuffix("_path")
        key = key_path(path, base)
        self._lines.setdefault(key, self._lines.get(key_path(path, name), 0))
        if base in part:
            self.problems[key] = f"set exactly one of {base} and {name}; both are set"
            return
        part[base] = UNSET_SECRET  # if there is a problem, other checks shall not report it, too
        if not value or not isinstance(value, str) or not value.isprintable():
            self.problems[key] = f"{name} is not the path of a file; {OPTIONAL}"
            return
        self.files[key] = Path(value).absolute()
        text = self._read_text(key)
        if text:
            part[base] = text
        if self._reference.find(f"{key}[]") not in (None, self._reference.find(key)):
            part[base] = [line for line in part[base].splitlines() if line]

    def _read_text(self, key: str) -> str:
        file = self.files[key]
        text = ""
        try:
            text = self._read(file).decode("utf-8-sig").strip("\r\n")
            if not text:
                self.problems[key] = f"the file {file} is empty; write the secret to it"
        except OSError as exc:
            self.problems[key] = f"the file {file} cannot be read: {exc.strerror}"
        except UnicodeDecodeError:
            self.problems[key] = f"the file {file} is not UTF-8; save it as UTF-8"
        return text


UNSET_SECRET = "stands-for-an-unset-variable"  # noqa: S105


def _fill_required(expansion: Expansion) -> None:
    """Replace required secrets that have no value, and an App without its key, by a dummy value."""
    root = expansion.root
    unset = expansion.unset
    if any(key.startswith("github.app.") for key in unset):
        del root["github"]["app"]
    for section, name, keys in (
        ("github", "token", ("github.app.", "github.token")),
        ("github", "webhook_secret", ("github.webhook_secret",)),
        ("claude", "api_key", ("claude.api_key",)),
    ):
        given = root.get(section)
        if any(key.startswith(keys) for key in unset) and not (
            name == "token" and "tokens" in given
        ):
            given.setdefault(name, UNSET_SECRET)
    for index, entry in enumerate(list_at(root, "claude.fallbacks")):
        if f"claude.fallbacks[{index}].api_key" in unset:
            entry.setdefault("api_key", UNSET_SECRET)


def _find_problems(root: object) -> Iterator[tuple[str, str]]:
    host = value_at(root, "server.host")
    if (
        is_false(value_at(root, "features.signature_validation"))
        and isinstance(host, str)
        and not is_loopback(host)
    ):
        sentence = (
            f"false is allowed on a loopback host only, and server.host is {host}; anyone could"
            " send events"
        )
        yield "features.signature_validation", sentence
    if value_at(root, "server.viewers") and value_at(root, "server.trusted_proxy") is None:
        yield (
            "server.viewers",
            "needs server.trusted_proxy, which is not set; remove the key, or set both",
        )
    yield from _find_credential_problems(root)
    yield from _find_retrieval_problems(root)
    yield from _find_provider_problems(root)
    first: dict[str, int] = {}
    for index, entry in enumerate(list_at(root, "repositories")):
        name = value_at(entry, "name")
        if isinstance(name, str) and first.setdefault(name.lower(), index) != index:
            yield (
                f"repositories[{index}].name",
                f"{name} is already repositories[{first[name.lower()]}]; remove one",
            )


def _find_credential_problems(root: object) -> Iterator[tuple[str, str]]:
    github = value_at(root, "github")
    if isinstance(github, dict):
        found = [f"github.{name}" for name in ("app", "token", "tokens") if name in github]
        if len(found) != 1:
            given = "none is set"
            if found:
                given = f"{' and '.join(found)} are set"
            yield (
                "github",
                f"set exactly one of github.app, github.token and github.tokens; {given}",
            )


def _describe_missing_packages(name: str) -> Sentence:
    """Name the command for a clone. In a package index, the project's name may be another's."""
    missing = f"needs the packages of requirements-{name}.txt, which are not installed"
    advice = f"run make .venv/ready-{name} in the clone"
    return Sentence(f"{missing}; {advice}", Kind.MISSING_PACKAGE)


def _find_retrieval_problems(root: object) -> Iterator[tuple[str, str]]:
    qdrant = value_at(root, "retrieval.qdrant")
    embeddings = value_at(root, "retrieval.embeddings")
    if qdrant is None and embeddings is not None:
        yield "retrieval.embeddings", "needs retrieval.qdrant, which is not set; set both or none"
    if qdrant is not None and embeddings is None:
        yield "retrieval.qdrant", "needs retrieval.embeddings, which is not set; set both or none"
    if isinstance(qdrant, dict):
        if not {"url", "path"} & qdrant.keys():
            yield "retrieval.qdrant", "set exactly one of url and path; none is set"
        if {"url", "path"} <= qdrant.keys():
            yield "retrieval.qdrant", "set exactly one of url and path; both are set"
        if any(find_spec(package) is None for package in ("qdrant_client", "openai")):
            yield "retrieval.qdrant", _describe_missing_packages("qdrant")
    for key in ("retrieval.qdrant.url", "retrieval.embeddings.base_url"):
        credential = f"{key.rpartition('.')[0]}.api_key"
        if is_unencrypted(value_at(root, key)) and value_at(root, credential) is not None:
            yield (
                key,
                f"http:// would send {credential} unencrypted; use https:// or remove the key",
            )


PROVIDERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "anthropic": ("anthropic", ()),
    "bedrock": ("boto3", ("model", "region")),
    "vertex": ("google.auth", ("model", "project", "region")),
    "openai": ("openai", ("model",)),
    "azure": ("openai", ("base_url", "model")),
}
"""Kind -> (package that it needs, keys that it needs besides api_key)."""

KINDS_OF_KEYS = {
    "region": ("bedrock", "vertex"),
    "project": ("vertex",),
    "access_key_id": ("bedrock",),
    "api_version": ("azure",),
}
"""Key that only some kinds have -> these kinds."""


def _find_provider_problems(root: object) -> Iterator[tuple[str, str]]:
    entries = {"claude": value_at(root, "claude")}
    for index, entry in enumerate(list_at(root, "claude.fallbacks")):
        entries[f"claude.fallbacks[{index}]"] = entry
    first: dict[str, str] = {}
    for key, entry in entries.items():
        if not isinstance(entry, dict):
            continue
        kind = str(entry.get("kind", "anthropic"))
        if kind not in PROVIDERS:
            continue
        package, needed = PROVIDERS[kind]
        for name in needed:
            if entry.get(name) is None:
                sentence = f"is missing; {kind} needs it"
                yield f"{key}.{name}", Sentence(sentence, Kind.MISSING_KEY)
        if find_spec(package.partition(".")[0]) is None or find_spec(package) is None:
            yield f"{key}.kind", _describe_missing_packages("providers")
        name = str(entry.get("name", kind))
        if first.setdefault(name, key) != key:
            yield f"{key}.name", f"{name} is already the name of {first[name]}; choose another one"


def _find_missing_folders(root: object) -> Iterator[tuple[str, str]]:
    directory = value_at(root, "prompts.directory")
    if isinstance(directory, dict):
        return
    for path, folder in iter_leaves(directory, "prompts.directory"):
        if not isinstance(folder, str) or folder == "shipped":
            continue
        if not os.path.isdir(folder):  # noqa: PTH112  # Path.is_dir may raise
            yield path, f"there is no folder {os.path.abspath(folder)}"  # noqa: PTH100


def _collect_secrets(expansion: Expansion, reference: Reference) -> tuple[str, ...]:
    # All messages are masked with these texts, because a user may have written a secret to a wrong
    # key.
    texts = set[str]()
    for path, value in iter_leaves(expansion.root):
        key = reference.find(path)
        is_secret = path in expansion.variables or (key is not None and key.secret)
        if isinstance(value, str) and is_secret:
            texts.add(value)
    return tuple(sorted(texts, key=len, reverse=True))


def _find_warnings(settings: Settings, sources: Sources) -> Iterator[Sentence]:
    where = sources.where
    for key, provider in settings.claude.providers.items():
        for name in ("model", "review_model"):
            retirement = describe_retirement(getattr(provider, name) or "")
            if retirement is not None:
                yield Sentence(f"{where(f'{key}.{name}')}: {retirement}", Kind.RETIRED_MODEL)
        for name, kinds in KINDS_OF_KEYS.items():
            if name in provider.model_fields_set and provider.kind not in kinds:
                unused = f"has no effect with kind {provider.kind}; remove the key"
                yield Sentence(f"{where(f'{key}.{name}')}: {unused}", Kind.UNUSED_KEY)
    if not settings.features.signature_validation:
        accepted = "they are accepted from this machine only, and not from a proxy"
        yield Sentence(
            f"{where('features.signature_validation')}: webhooks are not verified; {accepted}",
            Kind.UNPROTECTED,
        )
    if not settings.mirror.enabled:
        for key in _find_features_with_mirror(settings):
            needed = "needs the mirror, and mirror.enabled is false"
            yield Sentence(f"{where(key)}: {needed}", Kind.MIRROR_OFF)
    if settings.server.trusted_proxy is not None:
        for index, network in enumerate(settings.server.trusted_proxy.networks):
            if ip_network(network).prefixlen == 0:
                yield Sentence(
                    f"{where(f'server.trusted_proxy.networks[{index}]')}: {network} is every"
                    " address, so all who reach the port can name any user; name the proxy's",
                    Kind.UNPROTECTED,
                )
    if not settings.server.has_sign_in and not is_loopback(settings.server.host):
        yield Sentence(
            f"{where('server.host')}: anyone who reaches {settings.server.host} can read"
            " /stats and /health, and the console is off; set server.api_key to require a key and"
            " to open the console",
            Kind.UNPROTECTED,
        )


def _find_features_with_mirror(settings: Settings) -> Iterator[str]:
    sections: dict[str, RepositoryFeatures] = {"features": settings.features}
    for index, entry in enumerate(settings.repositories):
        sections[f"repositories[{index}].features"] = entry.features
    for key, features in sections.items():
        if features.cherry_pick:
            yield f"{key}.cherry_pick"
        if features.test_oracle and not settings.test_oracle.url:
            yield f"{key}.test_oracle"


def _find_exposed_files(
    sources: Sources, dotenv: Path | None, files: Mapping[str, Path]
) -> Iterator[Sentence]:
    exposed = "other users of this machine can read"
    for key, file in files.items():
        if _is_readable_by_others(file):
            yield Sentence(
                f"{sources.where(key)}: {exposed} {file}; run chmod 600 on it", Kind.EXPOSED_FILE
            )
    if dotenv is not None and _is_readable_by_others(dotenv):
        yield Sentence(f"{dotenv}: {exposed} this file; run chmod 600 on it", Kind.EXPOSED_FILE)


def _is_readable_by_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


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


MASK = "***"
_MIN_CHARS = 8  # a shorter text may occur inside ordinary words
_PASSWORDS = (re.compile(r"://[^:/]*:([^@]+)@"), re.compile(r"[?&](?:ssl)?password=([^&]+)"))
"""Patterns of the password in a database URL: before the @, and in the driver's options."""


def collect_secrets(settings: Settings) -> tuple[str, ...]:
    """Return all secrets in the settings, the longest first, so that `masked` leaves no part of a
    longer secret.
    """
    leaves = (leaf for _, leaf in iter_leaves(settings.model_dump()))
    found = {leaf.get_secret_value() for leaf in leaves if isinstance(leaf, SecretStr)}
    for pattern in _PASSWORDS:
        for password in pattern.findall(settings.storage.url):
            if len(unquote(password)) >= _MIN_CHARS:
                found |= {password, unquote(password)}
            else:
                found.add(f":{password}@")
    return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def mask_password(url: str) -> str:
    """Return the address of a database with `***` in place of its password, however short that
    is.
    """
    for pattern in _PASSWORDS:
        for found in reversed(list(pattern.finditer(url))):
            url = url[: found.start(1)] + MASK + url[found.end(1) :]
    return url


def masked(text: str, secrets: Iterable[str]) -> str:
    """Replace each secret of at least 8 characters by `***`. `secrets` must be sorted, the longest
    first.
    """
    for secret in secrets:
        if len(secret) >= _MIN_CHARS:
            text = text.replace(secret, MASK)
    return text


Stamp = tuple[int, int, int, int] | None
"""Inode, modification time in ns, size and change time in ns of a file; None if it cannot be
read.
"""

MIN_AGE_NS = 250_000_000
"""Minimum age of a change before a file is read: many editors empty a file before they write the
new text.
"""


class SettingsFile:
    """Reads the settings file, `.env` and the files of secrets, and detects changes of these files.

    Only one thread at a time may call `read`. Every read uses the `environ` of the constructor.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        *,
        dotenv: Path | None,
        options: Mapping[str, object] = MappingProxyType({}),
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Read the settings. Raises `SettingsError`.

        `options` override the file as in `load_settings`. `clock_ns` is compared with the
        modification times of files.
        """
        self._clock_ns = clock_ns
        self._options = options
        self._path = path
        self._environ = dict(environ)
        self._dotenv = dotenv
        self._stamps: dict[Path, Stamp] = {}  # of the files when they were read
        self._must_read = False
        self.initial: Settings = self.read()

    def has_changed(self) -> bool:
        """Return True if a file has changed since `read`, and the change is at least `MIN_AGE_NS`
        old. Thread-safe.
        """
        stamps = {path: _stamp(path) for path in self._stamps}
        if stamps == self._stamps and not self._must_read:
            return False
        now = self._clock_ns()
        return not any(
            0 <= now - stamp[1] < MIN_AGE_NS for stamp in stamps.values() if stamp is not None
        )

    def read(self) -> Settings:
        """Read the settings. Raises `SettingsError`. If a file changes meanwhile, `has_changed`
        returns True later.
        """
        self._must_read = False
        self._stamps = {
            path: _stamp(path) for path in (self._path, self._dotenv) if path is not None
        }
        return load_settings(
            self._path,
            self._environ,
            dotenv=self._dotenv,
            options=self._options,
            read_key=self._read_key,
        )

    def mark_as_changed(self) -> None:
        """Make `has_changed` return True, so that settings that could not be applied are read
        again.
        """
        self._must_read = True

    def _read_key(self, path: Path) -> bytes:
        # before reading, so that a later change is detected
        self._stamps = {
            **self._stamps,
            path: _stamp(path),
        }
        return _read_file(path)


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns)


NEEDS_RESTART = (
    "server.host",
    "server.port",
    "storage.url",
    "limits.concurrency",
    "retrieval.qdrant",
    "retrieval.embeddings",
)
"""Keys that cannot change at runtime: they concern open sockets, the open database and the running
threads.
"""


@dataclass(frozen=True, slots=True)
class SettingsReload:
    settings: Settings  # the settings as read, but with the old value of each key in `waiting`
    changed: tuple[str, ...]  # keys with a new value: "github.token", "repositories"
    # keys whose new value needs a restart, with line: "config/settings.yaml:3 (server.port)"
    waiting: tuple[str, ...]


def plan_reload(running: Settings, read: Settings) -> SettingsReload:
    """Return the new settings `read`, but with the `running` values of the keys in `NEEDS_RESTART`.

    Raises `SettingsError` if `read` switches the signature check off while the running host is not
    loopback. A new loopback host in `read` does not prevent the error, because the host changes
    only at a restart.
    """
    settings = read
    waiting = []
    for key in NEEDS_RESTART:
        section, _, name = key.partition(".")
        old = getattr(getattr(running, section), name)
        if getattr(getattr(read, section), name) != old:
            waiting.append(read.sources.where(key))
            section_settings = getattr(settings, section).model_copy(update={name: old})
            settings = settings.model_copy(update={section: section_settings})
    if not settings.features.signature_validation and not is_loopback(settings.server.host):
        where = read.sources.where("features.signature_validation")
        listens = f"the running service listens on {settings.server.host}"
        advice = "set it to true, or set server.host to 127.0.0.1 and restart HLS"
        raise SettingsError(
            [f"{where}: false is allowed on a loopback host only, but {listens}; {advice}"]
        )
    return SettingsReload(settings, tuple(_changed(running, settings)), tuple(waiting))


def _changed(before: Settings, after: Settings) -> Iterator[str]:
    for section in Settings.model_fields:
        old = getattr(before, section)
        new = getattr(after, section)
        # an entry overrides also with a value that is the general default
        if isinstance(new, tuple):
            if [entry.model_dump(exclude_unset=True) for entry in old] != [
                entry.model_dump(exclude_unset=True) for entry in new
            ]:
                yield section
        else:
            yield from (
                f"{section}.{n}"
                for n in type(new).model_fields
                if getattr(old, n) != getattr(new, n)
            )
