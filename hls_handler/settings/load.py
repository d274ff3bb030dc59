"""Loads the settings file and `.env`. One error lists all problems, with secrets masked."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from pydantic import SecretStr, ValidationError

from hls_handler.errors import SettingsError
from hls_handler.settings import shipped
from hls_handler.settings.environment import read_environment
from hls_handler.settings.model import DEFAULT_FOLDERS, Settings
from hls_handler.settings.problems import Kind, Sentence, rephrase
from hls_handler.settings.providers import KINDS_OF_KEYS, describe_retirement
from hls_handler.settings.reference import Reference, explain, find_empty_keys
from hls_handler.settings.sections import RepositoryFeatures
from hls_handler.settings.values import OPTIONAL, is_loopback
from hls_handler.settings.yaml_parser import (
    FILE_SUFFIX,
    VARIABLE,
    Sources,
    Tree,
    decode,
    iter_leaves,
    key_path,
    parse_tree,
)
from hls_handler.untrusted.redaction import MASK, compile_secrets
from hls_handler.wording import is_or_are

UNSET_SECRET = "stands-for-an-unset-variable"  # noqa: S105
MIN_MASKED_CHARS = 8  # a shorter value may occur inside ordinary words

_LEFT_OUT = object()


class Expansion:
    """Expands the values of one file. The attributes are by key path."""

    def __init__(
        self,
        variables: Mapping[str, str],
        *,
        dotenv: str,
        read_file: Callable[[Path], bytes],
        allow_unset: bool = False,
    ) -> None:
        """`dotenv` is the file that messages name. With `allow_unset`, a secret without a value is
        `UNSET_SECRET`, and any other key without one is left out.
        """
        self._values = variables
        self._dotenv = dotenv
        self._read_file = read_file
        self._allow_unset = allow_unset
        self.variables: dict[str, str] = {}  # the first variable in the value
        self.files: dict[str, Path] = {}  # of secrets
        self.problems: dict[str, Sentence] = {}
        self.unset: dict[str, str] = {}  # with `allow_unset`: "PORT is not set"

    def expand(self, value: object, path: str = "") -> Any:
        """Return a copy of the value at a key path. Values of variables are not expanded again.

        A value with a problem is not changed. Sentences do not quote it, since it may be a secret.
        """
        if isinstance(value, dict):
            return self._expand_section(value, path)
        if isinstance(value, list):
            items = [self.expand(item, f"{path}[{index}]") for index, item in enumerate(value)]
            present = [item for item in items if item is not _LEFT_OUT]
            if items and not present:
                return _LEFT_OUT
            return present
        if isinstance(value, str) and "${" in value:
            return self._expand_text(value, path)
        return value

    def find_secrets(self, root: object) -> Iterator[str]:
        """Yield the values of variables and of secrets in the expanded file, to mask messages: a
        user may have written a secret to a wrong key, too.
        """
        for path, value in iter_leaves(root):
            is_secret = path in self.variables or _is_secret(path)
            if is_secret and isinstance(value, str) and len(value) >= MIN_MASKED_CHARS:
                yield value

    def _expand_section(self, section: Mapping[str, object], path: str) -> dict[str, Any]:
        expanded: dict[str, Any] = {}
        for name, value in section.items():
            secret = name.removesuffix(FILE_SUFFIX)
            key = key_path(path, secret)
            if secret == name or not _is_secret(key):
                expanded[name] = self.expand(value, key_path(path, name))
                continue
            expanded[secret] = self._expand_secret(value, key, name)
            if secret in section:
                sentence = f"set exactly one of {secret} and {name}; both are set"
                self.problems[key] = Sentence(sentence, Kind.SECRET_FILE)
        return {name: value for name, value in expanded.items() if value is not _LEFT_OUT}

    def _expand_text(self, text: str, path: str) -> object:
        if "${" in VARIABLE.sub("", text):
            sentence = "${ does not start a variable here; write ${NAME} or ${NAME:-default}"
            self.problems[path] = Sentence(sentence, Kind.UNSET_VARIABLE)
            return text
        references = list(VARIABLE.finditer(text))
        required = dict.fromkeys(match[1] for match in references if match[2] is None)
        missing = [name for name in required if name not in self._values]
        if missing and self._allow_unset:
            self.unset[path] = f"{missing[0]} is not set"
            return _dummy(path)
        if missing:
            which = f"{' and '.join(missing)} {is_or_are(len(missing))} not set"
            sentence = f"the variable {which}; set it in the environment or in {self._dotenv}"
            self.problems[path] = Sentence(sentence, Kind.UNSET_VARIABLE)
            return text
        self.variables[path] = references[0][1]
        return VARIABLE.sub(lambda match: self._values.get(match[1], "") or match[2] or "", text)

    def _expand_secret(self, value: object, key: str, name: str) -> object:
        """Return the text of the file that `value` names; of a key that accepts a list, its
        lines.
        """
        file = self.expand(value, key)
        if key in self.problems or key in self.unset:
            return _dummy(key)
        try:
            text = self._read_secret(file, key, name)
        except ValueError as problem:
            if self._allow_unset:
                self.unset[key] = str(problem)
            else:
                self.problems[key] = Sentence(str(problem), Kind.SECRET_FILE)
            return _dummy(key)
        if Reference().find(f"{key}[]") is not None:
            return [line for line in text.splitlines() if line]
        return text

    def _read_secret(self, file: object, key: str, name: str) -> str:
        """Raises `ValueError` with a sentence for the user."""
        if not file or not isinstance(file, str) or not file.isprintable():
            raise ValueError(f"{name} is not the path of a file; {OPTIONAL}")
        path = Path(file).absolute()
        self.files[key] = path
        try:
            text = self._read_file(path).decode("utf-8-sig").strip("\r\n")
        except OSError as exc:
            problem = f"cannot be read: {exc.strerror}"
        except UnicodeDecodeError:
            problem = "is not UTF-8; save it as UTF-8"
        else:
            if text:
                return text
            problem = "is empty; write the secret to it"
        # outside of `except`: a decoding error contains the bytes of the file
        raise ValueError(f"the file {path} {problem}")


def _dummy(path: str) -> object:
    """Return what stands for a value that cannot be read, so that validation does not report it,
    too.
    """
    key = Reference().find(path)
    if key is not None and key.secret:
        return UNSET_SECRET
    return _LEFT_OUT


def _is_secret(path: str) -> bool:
    """Return True for the key path of a secret, and for storage.url, whose password is one."""
    key = Reference().find(path)
    return key is not None and (key.secret or path == "storage.url")


SETTINGS_FILE = Path("config/settings.yaml")

NO_OWN_FILE = (
    f"there is no {SETTINGS_FILE} in this folder, so the shipped example was read;"
    " `hls init` writes one"
)


def read_file(path: Path) -> bytes:
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
    read_key: Callable[[Path], bytes] = read_file,
) -> Settings:
    """Read a settings file, expand its variables, and validate its values.

    Variables that `environ` lacks are read from the file `dotenv`. `read_key` reads files of
    secrets, which keys such as `github.app.private_key_path` and `claude.api_key_path` name. Raises
    `SettingsError`, whose `problems` contain each mistake with its line:
    "/srv/hls/settings.yaml:12: server.prot: unknown key; ...".

    With `allow_unset`, unset or blank variables are no mistake: a secret gets a dummy value, any
    other optional key its default. `Settings.unset` lists them. `options` override keys of the
    file: {"server.port": 8080}.
    """
    path = path.absolute()
    dotenv = dotenv and dotenv.absolute()
    tree = _read_tree(path, options)
    variables = read_environment(environ, dotenv)
    if allow_unset:
        variables = {name: value for name, value in variables.items() if value.strip()}
    expansion = Expansion(
        variables, dotenv=str(dotenv or ".env"), read_file=read_key, allow_unset=allow_unset
    )
    root = expansion.expand(tree.root)
    if any(key.startswith("github.app.") for key in expansion.unset):
        del root["github"]["app"]  # no dummy is a private key
        root["github"]["token"] = UNSET_SECRET
    problems = dict(find_empty_keys(tree.root, Reference()))
    try:
        settings = Settings.model_validate(root)
    except ValidationError as error:
        settings = None
        problems = _explain(error, root, expansion) | problems
    # these replace sentences about a value that was not the real one
    lines = tree.format_problems(problems | tree.rejected | expansion.problems)
    if lines or settings is None:
        if path == shipped.SETTINGS:
            lines = [*lines, Sentence(NO_OWN_FILE, Kind.SETTINGS_FILE)]
        secrets = compile_secrets(expansion.find_secrets(root))
        raise SettingsError([rephrase(line, secrets.sub(MASK, line)) for line in lines])
    sources = replace(tree.sources, options={key: _name_option(key) for key in options})
    exposed = _find_exposed_files(sources, dotenv, expansion.files)
    settings._sources = sources
    settings._warnings = (*_find_warnings(settings, sources), *exposed)
    settings._unset = expansion.unset
    return settings


def _name_option(key: str) -> str:
    section, _, name = key.partition(".")
    return f"--{name}" if section == "server" else "set by the command"


def _explain(error: ValidationError, root: object, expansion: Expansion) -> dict[str, Sentence]:
    problems = explain(error, root, expansion.variables, Reference())
    for key, sentence in problems.items():
        file = expansion.files.get(re.sub(r"\[\d+\]$", "", key))
        if file is not None:
            # without these words, the log redacts its name
            problems[key] = Sentence(f"the file {file} {sentence}", sentence.kind)
        if key in expansion.unset:
            unset = f"{expansion.unset[key]}; it is required"
            problems[key] = Sentence(unset, Kind.UNSET_VARIABLE)
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
    for key, value in options.items():
        section, _, name = key.partition(".")
        if isinstance(tree.root.setdefault(section, {}), dict | None):
            tree.root[section] = {**(tree.root[section] or {}), name: value}
    return tree


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
    if settings.prompts.directory != DEFAULT_FOLDERS:
        folders = settings.prompts.folders
        has_some = any(folder.is_dir() for folder in folders.values())  # else it is an error
        for key, folder in folders.items():
            if has_some and not folder.is_dir():
                missing = f"there is no folder {folder.absolute()} yet, so it counts as empty"
                yield Sentence(f"{where(key)}: {missing}", Kind.UNUSED_KEY)
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


_PASSWORDS = re.compile(r"://[^:/]*:([^@]+)@|[?&](?:ssl)?password=([^&]+)")
"""Matches the passwords in a database URL: before the @, and in the driver's options."""


def collect_secrets(settings: Settings) -> frozenset[str]:
    """Return all secrets in the settings. Of the database's address, that is its password, if it is
    long enough not to occur inside ordinary words.
    """
    leaves = (leaf for _, leaf in iter_leaves(settings.model_dump()))
    secrets = {leaf.get_secret_value() for leaf in leaves if isinstance(leaf, SecretStr)}
    for match in _PASSWORDS.finditer(settings.storage.url):
        password = match[1] or match[2]
        if len(unquote(password)) >= MIN_MASKED_CHARS:
            secrets |= {password, unquote(password)}
    return frozenset(secrets)
