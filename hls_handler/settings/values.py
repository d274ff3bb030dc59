"""Types of settings values and their validation, and path globs. Error messages never contain
secrets.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from hls_handler.settings.github_events import find_event_problem, find_fallback_event_problem
from hls_handler.settings.path_globs import find_glob_problem, find_unsupported_syntax
from hls_handler.settings.problems import Kind, Sentence, find_id_problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


CONFLICT = "conflict"
"""Type of an error whose context has the key and the sentence of `Section.find_conflicts`."""


def conflict(text: str) -> Sentence:
    return Sentence(text, Kind.CONFLICT)


_parsing = Lock()
"""Before Python 3.11.9, `ast.parse` raises SystemError if another thread parses at that time:
https://github.com/python/cpython/issues/106905
"""


@cache
def _read_meanings(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return the strings below the fields of classes: {"Server": {"port": "TCP port; ..."}}."""
    meanings: dict[str, dict[str, str]] = {}
    with _parsing:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    for section in tree.body:
        if isinstance(section, ast.ClassDef):
            texts = meanings.setdefault(section.name, {})
            for key, text in pairwise(section.body):
                match key, text:
                    case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(meaning))):
                        texts[name] = " ".join(meaning.split())
    return meanings


class Section(BaseModel):
    """Base class for the sections of the settings file and of `.github/hls.yaml`."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        defer_build=True,  # many are only parts of others, and need no validator of their own
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, section: object) -> object:
        # A section is null in YAML if all its keys are commented out. Of another key, null is
        # reported by `find_empty_keys`.
        if not isinstance(section, dict):
            return section
        nulls = {name for name in cls.model_fields if section.get(name, ...) is None}
        return {name: value for name, value in section.items() if name not in nulls}

    def find_conflicts(self) -> Iterable[tuple[str, Sentence]]:
        """Yield each key that does not fit the others: ("viewers", "needs ..."). "" is the section
        itself.
        """
        return ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe each key by the string below it. (`use_attribute_docstrings` of pydantic reads
        all of them at each start, which takes longer than loading the settings.)
        """
        schema = handler(core)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for model in cls.__mro__[: cls.__mro__.index(Section)]:
            meanings = _read_meanings(model.__module__).get(model.__name__, {})
            for name in properties.keys() & meanings.keys():
                properties[name].setdefault("description", meanings[name])
        return schema

    @model_validator(mode="after")
    def _reject_conflicts(self) -> Self:
        errors = [
            InitErrorDetails(
                type=PydanticCustomError(CONFLICT, "{sentence}", {"sentence": text, "key": key}),
                input=None,
            )
            for key, text in self.find_conflicts()
        ]
        if errors:
            raise ValidationError.from_exception_data(type(self).__name__, errors)
        return self


T = TypeVar("T")

VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
REPOSITORY_GLOB = re.compile(r"(?:[A-Za-z0-9._*?/-]|\[[^\]/]+\])+")
MIN_SECRET_BYTES = 16
SHELL_VARIABLE = re.compile(r"\$\w+")  # as in a shell; settings expand only `${NAME}`
IN_QUOTES = re.compile(r"""(["']).*\1""", re.DOTALL)
NAME_BEFORE_VALUE = re.compile(r"(?:export )?[A-Z][A-Z0-9_]{4,}=[^=]")  # no padding of base32
CREDENTIAL = re.compile(r"[!#-&(-~]+|\{[ -~]+\}")  # the second is a key file of Google in one line
RESERVED_PATHS = (
    "/analyses",
    "/api/analyses",
    "/api/deliveries",
    "/api/stats",
    "/batches",
    "/deliveries",
    "/docs",
    "/figures",
    "/health",
    "/log",
    "/metrics",
    "/openapi.json",
    "/prompts",
    "/sign-in",
    "/sign-out",
    "/static",
    "/stats",
)
"""Paths of the service's own pages; the paths below them are reserved, too."""

OPTIONAL = "if it is optional, remove the key"
IS_EMPTY = f"is empty; {OPTIONAL}"

EXPECTED = "x-expected"


def Expected(words: str) -> Any:  # noqa: N802, it annotates types as `Field` does
    """Describe the valid values of a type for error messages: "the number of an issue"."""
    return Field(json_schema_extra={EXPECTED: words})


def _reject(find_problem: Callable[[Any], str | None]) -> AfterValidator:
    def validate(value: T) -> T:
        sentence = find_problem(value)
        if sentence is not None:
            raise ValueError(sentence)
        return value

    return AfterValidator(validate)


def is_loopback(host: str) -> bool:
    """Return True if the host is a loopback address or "localhost"."""
    name = host.strip("[]").lower()
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _reject_boolean(value: object) -> object:
    if isinstance(value, bool):  # pydantic would accept it as the number 1 or 0
        raise PydanticCustomError("boolean", "no number")
    return value


LANGUAGE = re.compile(r"\(?[^\W\d_]+\)?(?:[ -]\(?[^\W\d_]+\)?){0,3}")  # "Chinese (Simplified)"


def _check_language_name(language: str) -> str:
    # Prompts contain the name as trusted text, and `.github/hls.yaml` can set it: reject
    # instructions.
    if not LANGUAGE.fullmatch(language):
        raise PydanticCustomError("language", "no name of a language")
    return language


def _find_secret_problem(secret: str) -> str | None:
    if not secret.strip():
        return IS_EMPTY
    if secret != secret.strip():
        return "starts or ends with white space; remove it (often a line break from a file)"
    if "${" in secret:
        return "still contains ${...} after expansion; check the value of the variable"
    if SHELL_VARIABLE.fullmatch(secret):
        return (
            "is a $ and a name, probably an unexpanded variable; write ${NAME}, or set the variable"
        )
    if IN_QUOTES.fullmatch(secret):
        return "is in quotes, which `docker run --env-file` keeps; remove them"
    if NAME_BEFORE_VALUE.match(secret):
        return "begins with its own name, as a line of .env does; remove it and the first ="
    return None


def _find_shared_secret_problem(secret: SecretStr) -> str | None:
    text = secret.get_secret_value()
    problem = _find_secret_problem(text)
    if problem is None and len(text.encode("utf-8", "surrogatepass")) < MIN_SECRET_BYTES:
        return f"is shorter than {MIN_SECRET_BYTES} bytes; generate one with: openssl rand -hex 32"
    return problem


def find_credential_problem(credential: SecretStr) -> str | None:
    """Return why a text is no key or token, in words without it; None if it may be one."""
    text = credential.get_secret_value()
    problem = _find_secret_problem(text)
    if problem is None and not CREDENTIAL.fullmatch(text):
        return "contains a blank, a quote, or a control or non-ASCII character; copy it again"
    return problem


def _parse_app_key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    problem = _find_secret_problem(text.strip())
    if problem is not None:
        raise ValueError(problem)
    return AppKey(text)


def _find_database_url_problem(url: str) -> str | None:
    scheme, _, rest = url.partition("://")
    authority = rest.partition("?")[0]
    if scheme == "sqlite" and rest in ("/", "/:memory:"):
        return (
            "a database in memory loses everything at a restart; name a file, as in"
            " sqlite:///data/hls.db"
        )
    if scheme == "sqlite" and rest.startswith("/") and "?" not in rest:
        return None
    if scheme != "postgresql+psycopg":
        return (
            "expected sqlite:///a/path, sqlite:////an/absolute/path or"
            " postgresql+psycopg://user:password@host/name"
        )
    if authority.count("@") > 1 or "," in authority.rpartition("@")[2].partition("/")[0]:
        return (
            "write an @ in the user name or password as %40, and several hosts as"
            " /name?host=one:5432&host=two:5432"
        )
    return None


def _find_base_url_problem(url: str) -> str | None:
    problem = _find_address_problem(url)
    if problem is None and is_unencrypted(url):
        sentence = f"http:// to {urlsplit(url).hostname} would send the key unencrypted"
        return f"{sentence}; use https:// (http is for loopback only)"
    return problem


def is_unencrypted(url: object) -> bool:
    """Return True for an address with http:// of another machine."""
    if not isinstance(url, str) or not url.startswith("http://"):
        return False
    return not is_loopback(urlsplit(url).hostname or "")


def to_api_url(url: str) -> str:
    """Return the address of GitHub's public API for any of github.com, and that of Enterprise Cloud
    for "https://SUBDOMAIN.ghe.com"; others as they are.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("github.com", "www.github.com"):
        return "https://api.github.com"
    if host.endswith(".ghe.com") and host.count(".") == 2:
        return f"https://api.{host}"
    return url


def _find_address_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port, (host or "").encode("idna")  # as the request will do
    except ValueError:
        host = None
    if not host:
        return "is not an address; expected one such as https://api.example.com"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "expected scheme, host and path only; credentials have their own key"
    return None


def _find_network_problem(network: str) -> str | None:
    try:
        ip_network(network)
    except ValueError as exc:
        return f"is no network ({exc}); write one such as 10.0.0.0/8 or 127.0.0.1/32"
    return None


def _find_url_path_problem(path: str) -> str | None:
    for reserved in RESERVED_PATHS:
        if path == reserved or path.startswith(f"{reserved}/"):
            return f"is used by the service itself, which serves {reserved}; choose another"
    return None


def _find_repository_problem(name: str) -> str | None:
    if name.endswith(".git"):
        return f"ends with .git, which no name does; write {name[:-4]}"
    if not REPOSITORY_GLOB.fullmatch(name):
        return (
            "contains a character that no name has; write owner/repo, or a glob with * for each"
            " part of a name"
        )
    return None


_NoBoolean = BeforeValidator(_reject_boolean)
Integer = Annotated[int, _NoBoolean]
Number = Annotated[float, _NoBoolean]
Credential = Annotated[SecretStr, _reject(find_credential_problem)]
Tokens = Annotated[tuple[Credential, ...], Field(min_length=1)]
AppPrivateKey = Annotated[SecretStr, AfterValidator(_parse_app_key)]
SharedSecret = Annotated[SecretStr, _reject(_find_shared_secret_problem)]
SharedSecrets = SharedSecret | Annotated[tuple[SharedSecret, ...], Field(min_length=1)]
_Address = Annotated[
    str, Field(pattern=r"^https?://\S+$"), AfterValidator(lambda url: url.rstrip("/"))
]
HttpUrl = Annotated[
    _Address,
    _reject(_find_base_url_problem),
    Expected("an address that starts with https://"),
]
GithubUrl = Annotated[HttpUrl, AfterValidator(to_api_url)]
ServerUrl = Annotated[
    _Address,
    _reject(_find_address_problem),
    Expected("an address with http:// or https://"),
]
ProviderName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9._-]{1,40}$"),
    Expected("a name of letters, digits, dots, hyphens and underscores"),
]
RegionName = Annotated[
    str, Field(pattern=r"^[a-z0-9-]{2,40}$"), Expected("a region such as eu-central-1")
]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$"), Expected("the name of a header")]
Network = Annotated[str, _reject(_find_network_problem), Expected("a network such as 10.0.0.0/8")]
UserGlob = Annotated[
    str, Field(pattern=r"^[!-~]{1,100}$"), Expected("a login, or a glob such as *@example.com")
]
DatabaseUrl = Annotated[
    str,
    _reject(_find_database_url_problem),
    Expected("an address that starts with sqlite:/// or postgresql+psycopg://"),
]
UrlPath = Annotated[
    str,
    Field(pattern=r"^/[^\s?#]*$"),
    _reject(_find_url_path_problem),
    Expected("a path that starts with /"),
]
RepositoryName = Annotated[
    str,
    Field(pattern=r"^[^/\s]+/[^/\s]+$"),
    _reject(_find_repository_problem),
    Expected("owner/repo or a glob such as owner/*"),
]
Folders = Annotated[tuple[Path, ...], Field(min_length=1)]
EventKey = Annotated[str, _reject(find_event_problem)]
FallbackEventKey = Annotated[str, _reject(find_fallback_event_problem)]
PathGlob = Annotated[str, _reject(find_glob_problem)]
SilencedId = Annotated[str, _reject(find_id_problem)]
LabelGlob = Annotated[str, _reject(find_unsupported_syntax)]
Language = Annotated[
    str,
    Field(max_length=40),
    AfterValidator(_check_language_name),
    Expected("a language's name: up to four words of letters, at most 40 characters"),
]
# Bounds come before `_NoBoolean`: pydantic does not describe those behind it in JSON Schema.
IssueNumber = Annotated[
    int, Field(ge=1, le=2_147_483_647), _NoBoolean, Expected("the number of an issue")
]
Identifier = Annotated[int, Field(ge=1, le=2**53), _NoBoolean]
Confidence = Annotated[float, Field(ge=0, le=1), _NoBoolean]
Hours = Annotated[float, Field(gt=0, le=8760), _NoBoolean]
Usd = Annotated[float, Field(gt=0, le=100_000), _NoBoolean]
Tone = Literal["neutral", "friendly", "formal"]
Length = Literal["short", "normal", "detailed"]
Summary = Literal["on_findings", "always"]
Layout = Literal["list", "table"]
Assessed = Literal["issues", "pull_requests"]


LOGIN_GLOB = re.compile(r"[A-Za-z0-9*?][A-Za-z0-9_*?-]*(?:\[bot\])?", re.ASCII)


TitleMode = Annotated[Literal["check", "suggest", False], Expected("check, suggest or false")]
ReviewersMode = Annotated[
    Literal["suggest", "request", False], Expected("suggest, request or false")
]
TitleTypes = Annotated[
    tuple[
        Annotated[
            str,
            Field(pattern=r"^[a-z][a-z0-9-]{0,19}$"),
            Expected("a lower-case word such as feat"),
        ],
        ...,
    ],
    Field(min_length=1, max_length=20),
]
When = Annotated[
    Literal["push", "opened", "request"] | Annotated[str, Field(pattern=r"^label:\S(.{0,48}\S)?$")],
    Expected("push, opened, request or label:NAME"),
]


def _find_login_problem(bots: bool | tuple[str, ...]) -> str | None:
    if isinstance(bots, bool):
        return None
    for login in bots:
        if not LOGIN_GLOB.fullmatch(login):
            return f'"{login}" is no login; write one such as renovate[bot], or copilot*'
    return None


Bots = Annotated[
    bool | tuple[str, ...],
    _reject(_find_login_problem),
    Expected("true, false or a list of logins such as [copilot*]"),
]


def _find_variable_name_problem(name: str) -> str | None:
    if VARIABLE_NAME.fullmatch(name) is None:
        return "must be a letter or _, then letters, digits and _, with at most 64 characters"
    if hasattr(Mapping, name):  # a template would get the method of the map
        return f"{name} is reserved; choose another name"
    return None


VariableName = Annotated[str, _reject(_find_variable_name_problem)]
_Scalar = bool | int | Annotated[float, Field(allow_inf_nan=False)] | str
VariableValue = Annotated[
    _Scalar | tuple[_Scalar, ...],
    Expected("text, a number, true or false, or a list of these"),
]
"""A value of the operator for templates. Tuples, because settings are immutable."""
PromptUse = Annotated[
    str | Literal[False],
    Expected("the name of a prompt, or false"),
]


def webhook_secrets(value: SecretStr | tuple[SecretStr, ...] | None) -> tuple[bytes, ...]:
    """Return the secrets of a `webhook_secret` key as bytes; () if the key is not set."""
    secrets = value if isinstance(value, tuple) else (value,)
    return tuple(secret.get_secret_value().encode() for secret in secrets if secret is not None)


def web_url(base_url: str) -> str:
    """Return the address of GitHub's web pages: "https://github.com" for "https://api.github.com".

    The API of Enterprise Server is https://HOST/api/v3, that of Enterprise Cloud
    https://api.SUBDOMAIN.ghe.com.
    """
    parts = urlsplit(base_url)
    host = parts.netloc.removeprefix("api.") if not parts.path else parts.netloc
    return f"{parts.scheme}://{host}"


MIN_BITS = 2048  # GitHub's keys have 2048

PROBLEM = (
    f"is not an RSA private key of at least {MIN_BITS} bits in PEM form without a passphrase;"
    " expected the file that GitHub offers at `Generate a private key` on the App's page"
)


class InvalidAppKey(ValueError):
    """A text is not the private key of an App. The message does not quote it."""


class AppKey(SecretStr):
    """An RSA private key. Two keys are equal if their texts are equal."""

    def __init__(self, pem: str) -> None:
        """Parse a PEM text, in which line breaks may be written as `\\n`. Raises
        `InvalidAppKey`.
        """
        super().__init__(pem)
        self.rsa = _parse(pem.replace("\\n", "\n").strip())


def _parse(text: str) -> RSAPrivateKey:
    # imported here, because only a service with an App needs the library
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = None
    with suppress(TypeError, ValueError, UnsupportedAlgorithm):  # a TypeError for a passphrase
        key = load_pem_private_key(text.encode("utf-8", "surrogatepass"), password=None)
    if not isinstance(key, RSAPrivateKey) or key.key_size < MIN_BITS:
        # outside of `suppress`, so that the error has no context with the key's text
        raise InvalidAppKey(PROBLEM)
    return key
