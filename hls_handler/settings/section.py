"""The base class of settings models: strict sections, whose keys must fit together."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from threading import Lock
from typing import Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from hls_handler.settings.problems import Kind, Sentence

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
