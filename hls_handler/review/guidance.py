"""Guidance of a repository for reviews: splits `.github/hls.md` at headings of paths, and selects
what applies to changed files.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise

from hls_handler.github.values import GUIDANCE_PATHS, GuidanceFile
from hls_handler.retrieval.sections import Heading, find_headings
from hls_handler.settings.path_globs import find_glob_problem, matches
from hls_handler.settings.repository import FileProblems, limit_problems
from hls_handler.untrusted.cleaning import remove_html_comments, truncate

HLS_PATH, AGENTS_PATH = GUIDANCE_PATHS
MAX_FOLDERS = 100
"""Limit on the folders whose `AGENTS.md` a review reads."""
MAX_GLOB_CHARS = 200
"""Characters of a glob that a problem quotes."""

MAX_GLOBS = 100
"""Limit on the globs of one file, as in `paths.ignore`."""

# braces are a problem, so they are not divided
_PART = re.compile(r'(?:"[^"]*"|[^,{]|\{[^{}]*\}|\{)+')
_GLOB = re.compile(r'(?=!.|"?\*\..|.*/)(?:"[^"]*"|[^\s"])+')
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True, slots=True)
class GuidancePart:
    """A part of a file of guidance with the same paths; the whole file if it has no headings of
    paths.
    """

    path: str  # of the file
    text: str
    globs: tuple[str, ...] = ()  # of its heading: ("api/**", "!api/gen/**"); (): all files
    above: tuple[tuple[str, ...], ...] = ()  # of the headings of paths above it, the highest first
    line: int = 1  # of its heading
    is_beyond_limit: bool = False

    @property
    def name(self) -> str:
        """Return a name such as ".github/hls.md (api/** > *.py)"."""
        if not self.globs:
            return self.path
        headings = " > ".join(map(", ".join, (*self.above, self.globs)))
        return f"{self.path} ({truncate(headings, MAX_GLOB_CHARS)})"

    @property
    def problems(self) -> Sequence[str]:
        """One sentence for each glob that can match no file."""
        if self.is_beyond_limit:
            return [
                f"{self.path}:{self.line}: is beyond the {MAX_GLOBS} globs that a file may have"
            ]
        problems = ((glob, _find_problem(glob)) for glob in self.globs)
        return [
            f"{self.path}:{self.line}: {truncate(glob, MAX_GLOB_CHARS)}: {problem}"
            for glob, problem in problems
            if problem is not None
        ]

    def applies_to(self, paths: Iterable[str]) -> bool:
        """Return True if it is for all files or for one of `paths`. A part with a wrong glob, also
        in a heading above it, is for none.
        """
        if not self.globs and self.path in GUIDANCE_PATHS:
            return True
        if self.problems or any(map(_find_problem, chain.from_iterable(self.above))):
            return False
        return any(map(self._matches, paths))

    def _matches(self, path: str) -> bool:
        if not self.globs:
            return path.startswith(self.path.removesuffix(AGENTS_PATH))
        return all(_match_heading(globs, path) for globs in (*self.above, self.globs))


def _find_problem(glob: str) -> str | None:
    if len(_QUOTED.sub("x", glob).split()) > 1:
        return (
            "has a blank; write paths without other words, and a path that has one in quotes, such"
            ' as "web ui/**"'
        )
    return find_glob_problem(_unquote(glob).removeprefix("!"))


def _unquote(glob: str) -> str:
    return glob.replace('"', "")


def _match_heading(globs: Sequence[str], path: str) -> bool:
    """Return whether one of a heading's globs and no exception matches a path."""
    names = [*map(_unquote, globs)]
    included = [glob for glob in names if not glob.startswith("!")]
    unwanted = [glob[1:] for glob in names if glob.startswith("!")]
    if any(_matches(glob, path) for glob in unwanted):
        return False
    return not included or any(_matches(glob, path) for glob in included)


def _matches(glob: str, path: str) -> bool:
    """Return whether a glob matches a path; one without "/" matches in all folders."""
    if "/" not in glob:
        glob = f"**/{glob}"
    return matches(glob, path)


def list_folders(paths: Iterable[str]) -> list[str]:
    """Return the folders above files, first those with the most of these files below them.

    A folder below `MAX_FOLDERS` others is left out: each of them has at least as many files.
    """
    files = Counter[str]()
    for path in paths:
        names = path.split("/")[:-1][:MAX_FOLDERS]
        files.update(accumulate(names, lambda above, name: f"{above}/{name}"))
    return [folder for folder, _ in files.most_common()]


def list_guidance_paths(paths: Iterable[str]) -> list[str]:
    """Return the files of guidance that a review of the changed files `paths` reads."""
    nested = [f"{folder}/{AGENTS_PATH}" for folder in list_folders(paths)[:MAX_FOLDERS]]
    return [*GUIDANCE_PATHS, *nested]


def find_problems(guidance: Iterable[GuidanceFile]) -> FileProblems | None:
    """Return the wrong globs of `.github/hls.md`; None if it has none."""
    for file in guidance:
        problems = [problem for part in split_guidance(file) for problem in part.problems]
        if problems:
            version = hashlib.sha256(file.text.encode("utf-8", "replace")).hexdigest()
            return FileProblems(file.path, version, limit_problems(problems))
    return None


def select_parts(guidance: Iterable[GuidanceFile], paths: Iterable[str]) -> list[GuidancePart]:
    """Return the parts that apply to some of the changed files `paths`, or to all files.

    `.github/hls.md` comes first, in it what is for these paths before what is for all files; then
    each `AGENTS.md`, the nearest to the files first.
    """
    files = [*paths]
    by_depth = sorted(guidance, key=_rank)
    parts = [part for file in by_depth for part in split_guidance(file)]
    return [part for part in parts if part.applies_to(files)]


def _rank(file: GuidanceFile) -> tuple[bool, int, str]:
    return file.path != HLS_PATH, -file.path.count("/"), file.path


def split_guidance(file: GuidanceFile) -> list[GuidancePart]:
    """Return the parts of a file: one for each heading of paths, then one with the rest of the
    text.

    A heading of paths rules the text up to the next heading of its level or a higher one. That of
    headings of paths below it is a part of its own, which both rule.
    """
    if file.path != HLS_PATH:
        return [GuidancePart(file.path, file.text)]
    text = file.text.removeprefix("\ufeff")  # a byte order mark
    lines = remove_html_comments(text, keep_lines=True).split("\n")
    headings = [*find_headings(lines), Heading(len(lines), 0, "", 0)]
    rest = lines[: headings[0].start]
    ruled: dict[tuple[Heading, ...], list[str]] = {}  # by their headings of paths
    above: list[Heading] = []  # headings of paths
    for heading, following in pairwise(headings):
        above = [outer for outer in above if outer.level < heading.level]
        if parse_globs(heading.title):
            above.append(heading)
        texts = rest
        if above:
            texts = ruled.setdefault(tuple(above), [])
        texts += lines[heading.start : following.start]
    if not ruled:
        return [GuidancePart(file.path, file.text)]
    parts: list[GuidancePart] = []
    number = 0
    for ruling, texts in ruled.items():
        *above_globs, globs = (parse_globs(heading.title) for heading in ruling)
        number += len(globs)
        parts.append(
            GuidancePart(
                file.path,
                _join(texts),
                globs,
                above=tuple(above_globs),
                line=ruling[-1].start + 1,
                is_beyond_limit=number > MAX_GLOBS,
            )
        )
    for_all = _join(rest)
    if for_all:
        parts.append(GuidancePart(file.path, for_all))
    return parts


def _join(lines: Iterable[str]) -> str:
    return "\n".join(lines).strip()


def parse_globs(title: str) -> tuple[str, ...]:
    """Return the globs of a heading: ("api/**", '"web ui/**"'); () for a heading of other text.

    Each is one word with "/", or one that begins with "*." or "!". In quotes it may have blanks.
    """
    globs = tuple(part.strip() for part in _PART.findall(title.replace("`", "")))
    if all(map(_is_glob, globs)):
        return globs
    return ()


def _is_glob(part: str) -> bool:
    if _GLOB.fullmatch(part) is not None:
        return True
    # web ui/** and web ui/ are wrong globs; Read/write locks is text
    last_word = part.split(" ")[-1]
    return re.search(r"/(?:\*|$)", last_word[1:]) is not None
