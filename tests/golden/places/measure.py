"""`python -m tests.golden.places.measure [FOLDER]`: which other places reviews show, for how many
tokens, and why.

The cases pass through the handler of pull requests, with a mirror that a git server on loopback
serves. The golden cases with `needs` follow. Tokens are estimates of HLS, of system and task
together.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hls_handler.git.mirror import Mirrors
from hls_handler.github.api import GithubApi
from hls_handler.github.reader import GithubReader
from hls_handler.github.repository_labels import RepositoryLabels
from hls_handler.handlers.reader import RepositoryFiles
from hls_handler.prompting.prompt import Library
from hls_handler.question import estimate_tokens
from hls_handler.review.file_kinds import is_test_file
from hls_handler.review.patches import parse_numbered
from hls_handler.review.second_sites import SecondSite
from hls_handler.routing import Rule
from hls_handler.settings.model import Mirror as MirrorSettings
from hls_handler.settings.model import Review, Settings
from hls_handler.trials.replay import read_unstored
from hls_handler.trials.trial import Trial
from tests.engine.fakes import FakeReader
from tests.engine.world import library, settings
from tests.git.git_server import GitServer, Origin
from tests.github.review_world import NOON, github_settings
from tests.golden.cases import FOLDER, PullRequestCase, load_cases
from tests.golden.places.cases import PlacesCase, load_places
from tests.golden.questions import find_effective_settings
from tests.handlers.world import count_changes, event, fake_reader, pull_request

PROMPT = "pull_requests/analyze"
TOKEN = "ghp_mirrormirrormirrormirror"
SOURCES = (
    "definition of a name on added lines",
    "definition of a name on removed lines",
    "definition of a name on unchanged lines",
    "call of what changed",
    "word on removed lines",
)


@dataclass
class _MirrorReader(FakeReader):
    """Reads the repository from a mirror."""

    head: RepositoryFiles

    def files_at(self, sha: str) -> RepositoryFiles:
        return self.head


@dataclass
class Source:
    shown: int = 0
    needed: int = 0
    namesakes: int = 0
    tokens: int = 0


@dataclass
class Measured:
    """What the questions about some cases show."""

    cases: int = 0
    found: int = 0
    missing: list[str] = field(default_factory=list)
    namesakes: list[str] = field(default_factory=list)
    tokens: int = 0
    site_tokens: int = 0
    sources: dict[str, Source] = field(default_factory=lambda: {name: Source() for name in SOURCES})

    @property
    def shown(self) -> int:
        return sum(source.shown for source in self.sources.values())

    @property
    def share(self) -> float:
        return self.site_tokens / self.tokens if self.tokens else 0.0


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


def ask(case: PullRequestCase, files: RepositoryFiles, given: Settings, known: Library) -> Trial:
    """Return the question about a case, whose repository is read from a mirror."""
    pull = pull_request(title=case.title, body=case.description, **count_changes(case.files))
    opened = event(pull)
    reader = _MirrorReader(fake_reader(pull, case.files).github, files)
    rule = Rule(opened.key, PROMPT, find_effective_settings(given), known.prompts[PROMPT].path)
    facts = read_unstored(opened, reader, given, known, rule)
    return Trial(facts, known, PROMPT, b"key")


def count_tokens(trial: Trial) -> int:
    return sum(
        estimate_tokens(one.system) + estimate_tokens(one.task) for one in trial.render_requests()
    )


def without_sites(trial: Trial) -> Trial:
    facts: Any = trial.source.facts
    bare = replace(facts, selection=replace(facts.selection, second_sites=()))
    return replace(trial, source=replace(trial.source, facts=bare))


def list_lines(site: SecondSite) -> set[str]:
    """Return the lines of a place, as "path: text"."""
    (hunk,) = parse_numbered(f"@@ -1 +1 @@\n{site.text}").hunks
    return {f"{site.path}: {line.text.strip()}" for line in hunk.lines}


def find_source(site: SecondSite, case: PullRequestCase) -> str:
    if site.kind == "call":
        return SOURCES[3]
    if site.kind != "definition":
        return SOURCES[4]
    lines = [line for file in case.files for line in (file.patch or "").split("\n")]
    named = {line[:1] for line in lines if re.search(rf"\b{site.name}\b", line)}
    if "+" in named:
        return SOURCES[0]
    return SOURCES[1] if "-" in named else SOURCES[2]


def add(
    measured: Measured,
    case: PullRequestCase,
    trial: Trial,
    needs: Sequence[str],
    wrong: Sequence[str],
) -> None:
    """Count one question. `needs` are lines of which one is needed, and `wrong` those of
    namesakes.
    """
    facts: Any = trial.source.facts
    tokens = count_tokens(trial)
    measured.cases += 1
    measured.tokens += tokens
    measured.site_tokens += tokens - count_tokens(without_sites(trial))
    is_found = False
    tests = Counter(
        site.name for site in facts.second_sites if site.kind == "call" and is_test_file(site.path)
    )
    for site in facts.second_sites:
        lines = list_lines(site)
        source = measured.sources[find_source(site, case)]
        source.shown += 1
        source.tokens += estimate_tokens(f"{site.path}{site.text}")
        if lines & set(needs):
            source.needed += 1
            is_found = True
        first = next(line for line in site.text.split("\n") if re.match(rf"R +{site.line} ", line))
        about = (
            f"{site.path}:"
            f" {parse_numbered(f'@@ -1 +1 @@{chr(10)}{first}').hunks[0].lines[0].text.strip()}"
        )
        if about in wrong:
            source.namesakes += 1
            measured.namesakes.append(f"{case.name}: {about}")
    if max(tests.values(), default=0) > 1:
        measured.namesakes.append(f"{case.name}: more than one call of a test")
    measured.found += is_found
    if not is_found:
        measured.missing.append(case.name)


def measure_places(cases: Sequence[PlacesCase], known: Library, folder: Path) -> Measured:
    measured = Measured()
    given = settings().model_copy(update={"review": Review()})
    with open_mirrors(folder) as (origin, reader):
        for case in cases:
            commit = origin.import_files(
                {path: text.encode() for path, text in case.files().items()}
            )
            pull = case.pull_request()
            trial = ask(pull, reader.files_at(commit), given, known)
            add(measured, pull, trial, case.needs, case.namesakes)
    return measured


def measure_golden(known: Library, folder: Path, of: str = "") -> Measured:
    """Measure the golden cases with a repository."""
    measured = Measured()
    given = settings().model_copy(update={"review": Review()})
    cases = [
        case for case in load_cases(FOLDER / of) if isinstance(case, PullRequestCase) and case.needs
    ]
    with open_mirrors(folder) as (origin, reader):
        for case in cases:
            commit = origin.import_files(
                {path: text.encode() for path, text in case.repository.items()}
            )
            needs = [f"{place.path}: {place.quote.strip()}" for place in case.needs]
            add(measured, case, ask(case, reader.files_at(commit), given, known), needs, ())
    return measured


def describe(title: str, measured: Measured) -> str:
    lines = [
        (
            f"{title}: needed place shown in {measured.found} of {measured.cases} (not"
            f" {', '.join(measured.missing)})"
        ),
        (
            f"  {measured.shown} places, {len(measured.namesakes)} wrong ones:"
            f" {'; '.join(measured.namesakes)}"
        ),
        f"  {measured.site_tokens:,} of {measured.tokens:,} tokens, {measured.share:.1%}",
        f"  {'source':42}{'shown':>7}{'needed':>8}{'wrong':>7}{'tokens':>8}",
    ]
    for name, source in measured.sources.items():
        numbers = f"{source.shown:7}{source.needed:8}{source.namesakes:7}{source.tokens:8,}"
        lines.append(f"  {name:42}{numbers}")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    known = library()
    cases = load_places(*map(Path, arguments[:1]))
    measures: Mapping[str, Callable[[Path], Measured]] = {
        f"{len(cases)} changes by kind": lambda at: measure_places(cases, known, at),
        "golden cases": lambda at: measure_golden(known, at),
        "kept cases": lambda at: measure_golden(known, at, "kept"),
    }
    for title, measure in measures.items():
        with tempfile.TemporaryDirectory() as folder:
            measured = measure(Path(folder))
        sys.stdout.write(f"{describe(title, measured)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
