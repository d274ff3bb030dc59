"""Loads the settings file and `.env`. One error lists all problems, with secrets masked."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

from pydantic import SecretStr, ValidationError

from hls_handler.errors import SettingsError
from hls_handler.settings import shipped
from hls_handler.settings.environment import read_environment
from hls_handler.settings.expansion import MIN_MASKED_CHARS, UNSET_SECRET, Expansion
from hls_handler.settings.model import DEFAULT_FOLDERS, Settings
from hls_handler.settings.problems import Kind, Sentence, rephrase
from hls_handler.settings.providers import KINDS_OF_KEYS, describe_retirement
from hls_handler.settings.reference import Reference, explain, find_empty_keys
from hls_handler.settings.sections import RepositoryFeatures
from hls_handler.settings.values import is_loopback
from hls_handler.settings.yaml_parser import Sources, Tree, decode, iter_leaves, parse_tree
from hls_handler.untrusted.masking import MASK, compile_secrets

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
