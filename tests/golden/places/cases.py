"""Changes by kind, each with the place of the repository that a reviewer needs, and its namesakes.

A file `NAME.yaml` has these keys:

    kind: renamed field
    before: {path: text}             the changed files before the change
    repository: {path: text}         all files after it
    copies: {path: {number, text}}   further files, with numbers in place of `{n}`
    pad: {path: bytes}               the file's line `{pad}` is replaced by so many bytes of entries
    needs: ["path: line"]            one of these lines must be shown, white space aside
    also: ["path: line"]             the same, all of them
    namesakes: ["path: line"]        no place may begin with, or be a call at, one of these lines
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from hls_handler.github.values import ChangedFile
from tests.golden.cases import PullRequestCase
from tests.handlers.world import compare

FOLDER = Path(__file__).parent


class Copies(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int
    text: str


class PlacesCase(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    kind: str
    before: Mapping[str, str]
    repository: Mapping[str, str]
    copies: Mapping[str, Copies] = {}
    pad: Mapping[str, int] = {}
    needs: tuple[str, ...]
    also: tuple[str, ...] = ()
    namesakes: tuple[str, ...]

    def files(self) -> Mapping[str, str]:
        """Return the texts of all files after the change."""
        files = dict(self.repository)
        for path, copies in self.copies.items():
            for number in range(copies.number):
                files[path.replace("{n}", str(number))] = copies.text.replace("{n}", str(number))
        for path, size in self.pad.items():
            entry = '    "Town {n}": (48.1372, 11.5755),'
            files[path] = files[path].replace("{pad}", "\n".join(_number(entry, size)).strip())
        return files

    def pull_request(self) -> PullRequestCase:
        files = self.files()
        changed: list[ChangedFile] = []
        for path, before in self.before.items():
            after = files.get(path)
            lines = [] if after is None else after.removesuffix("\n").split("\n")
            changed.append(compare(path, before.removesuffix("\n").split("\n"), lines))
        return PullRequestCase(
            name=self.name,
            language="",
            title="Change it",
            description="",
            files=tuple(changed),
            defects=(),
            repository=files,
        )


def _number(entry: str, size: int) -> list[str]:
    return [entry.replace("{n}", str(number)) for number in range(size // len(entry))]


def load_places(folder: Path = FOLDER) -> list[PlacesCase]:
    cases: list[PlacesCase] = []
    for path in sorted(folder.glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        case = PlacesCase.model_validate({"name": path.stem, **content})
        files = case.files()
        for line in (*case.needs, *case.also, *case.namesakes):
            of_file, _, text = line.partition(": ")
            if text not in map(str.strip, files[of_file].split("\n")):
                raise ValueError(f"{path.name}: there is no line {line!r}")
        cases.append(case)
    return cases
