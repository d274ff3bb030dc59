"""Expansion of `${NAME}` in settings, and of keys such as `token_path`, which name a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hls_handler.settings.problems import Kind, Sentence
from hls_handler.settings.reference import Reference
from hls_handler.settings.values import OPTIONAL
from hls_handler.settings.yaml_parser import FILE_SUFFIX, VARIABLE, iter_leaves, key_path
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
