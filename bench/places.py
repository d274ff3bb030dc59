"""CPU time of the search for other places in a repository of 20,000 files, relative to reading all
of them once.

The repository is generated: each file has 12 functions, and one of 40 files uses a helper. The
change calls the helper, changes a function that has callers, renames a field and uses a name that
is on very many lines. Reading all files is a search for a word that none has. CPU time of this
process and its children counts: others may use the machine.
"""

from __future__ import annotations

import random
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.row import Row, describe_rounds, median
from hls_handler.git.mirror import Mirrors
from hls_handler.github.api import GithubApi
from hls_handler.github.labels import RepositoryLabels
from hls_handler.github.reader import GithubReader
from hls_handler.github.source import CommitFiles
from hls_handler.review.changed_files import Selection
from hls_handler.review.surroundings import read_surroundings
from hls_handler.settings.model import MirrorSettings
from hls_handler.settings.path_globs import EMPTY_PATH_FILTER
from tests.git.git_server import GitServer, Origin
from tests.github.review_world import NOON, github_settings
from tests.handlers.world import file, select

TOKEN = "ghp_mirrormirrormirrormirror"
ROUNDS, FILES, FUNCTIONS = 3, 20_000, 12
LIMIT = 6.0
VERBS = (
    "load",
    "save",
    "find",
    "read",
    "write",
    "make",
    "push",
    "pull",
    "send",
    "parse",
    "render",
    "check",
)
NOUNS = (
    "user",
    "order",
    "item",
    "price",
    "rate",
    "tax",
    "page",
    "file",
    "row",
    "cell",
    "token",
    "event",
)
CHANGED = "src/pkg7/module_7.py"
PATCH = "\n".join(
    [
        "@@ -1,5 +1,5 @@",
        " from core.text import slugify",
        " ",
        " ",
        "-def load_user(self, value, old_options=None):",
        "-    result = value.old_field",
        "+def load_user(self, value, options=None):",
        "+    result = slugify(value.new_field, len(options))",
    ]
)
HEAD = "from core.text import slugify\n\n\ndef load_user(self, value, options=None):\n"
HEAD += "    result = slugify(value.new_field, len(options))\n    return result\n"


def measure(folder: Path, *, rounds: int = ROUNDS, files: int = FILES) -> tuple[Row, ...]:
    made = _make_files(files)
    selection = select(file(CHANGED, PATCH))
    with open_mirrors(folder) as (origin, reader):
        head = reader.files_at(origin.import_files(made))
        assert not head.no_mirror
        _search(selection, head)
        ratios: list[float] = []
        seconds: list[float] = []
        for _ in range(rounds):
            once = _cpu_s(lambda: head.find_words(("absent_word",)))
            seconds.append(_cpu_s(lambda: _search(selection, head)))
            ratios.append(seconds[-1] / once)
    details = f"{median(seconds):.2f} s of CPU time, {files:,} files; {describe_rounds(ratios)}"
    return (
        Row(
            "CPU time, other places to reading all files",
            median(ratios),
            "at most",
            LIMIT,
            None,
            details,
        ),
    )


@contextmanager
def open_mirrors(folder: Path) -> Iterator[tuple[Origin, GithubReader]]:
    """A repository, and a reader with a mirror of it."""
    served = folder / "served"
    origin = Origin(served / "o/r.git")
    with ExitStack() as stack:
        server = GitServer(served, token=TOKEN)
        stack.callback(server.close)
        mirror = MirrorSettings(directory=folder / "mirror")
        mirrors = Mirrors(lambda: mirror)
        api = GithubApi(github_settings(server.base_url, TOKEN), now=lambda: NOON, timeout_s=60.0)
        stack.callback(api.close)
        yield origin, GithubReader(api.of("o/r"), RepositoryLabels(lambda: 0.0), mirrors=mirrors)


def _make_files(number: int) -> dict[str, bytes]:
    chosen = random.Random(1)
    made = {
        "core/text.py": b"def slugify(text, length):\n    return text.lower()[:length]\n",
        CHANGED: HEAD.encode(),
    }
    for index in range(number):
        helper = "slugify"
        if index % 40:
            helper = "shorten"
        lines = [
            "import os",
            f"from core.text import {helper}",
            "from src.pkg7 import module_7",
            "",
        ]
        for function in range(FUNCTIONS):
            verb = chosen.choice(VERBS)
            noun = chosen.choice(NOUNS)
            lines += [
                f"def {verb}_{noun}_{index}_{function}(self, value, options=None):",
                (
                    "    result ="
                    f" {verb}_{chosen.choice(NOUNS)}_{chosen.randrange(number)}_{function}(value)"
                ),
                f"    total = value.get('{noun}') + len(options)",
                "    if result is None:",
                f"        raise ValueError({helper}(value, 3))",
                f"    return self.{noun}.get(result, total)",
                "",
            ]
        if index % 2_000 == 0:  # a name in more than 12 files has only its definition
            lines.append("module_7.load_user(1, 2)")
        made.setdefault(f"src/pkg{index % 400}/module_{index}.py", "\n".join(lines).encode())
    return made


def _search(selection: Selection, head: CommitFiles) -> None:
    found = read_surroundings(selection, head, EMPTY_PATH_FILTER, tokens=50_000, max_tokens=4_000)
    assert not found.unsearched, found.unsearched
    names = {(site.kind, site.name) for site in found.second_sites[0]}
    assert {("definition", "slugify"), ("call", "load_user")} <= names


def _cpu_s(run: Callable[[], object]) -> float:
    before = _used_s()
    run()
    return _used_s() - before


def _used_s() -> float:
    """Return the CPU time until now, with that of processes that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
