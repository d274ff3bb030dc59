"""Names on which a finding hangs are looked up in the repository for the second look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hls_handler.analysis import PullRequestAnalysis
from hls_handler.handlers.job import FactSource, PromptLimits
from hls_handler.handlers.pull_requests import gather
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.review.facts import LookedUp, PullRequestFacts
from hls_handler.review.second_look import list_names
from hls_handler.review.surroundings import look_up
from hls_handler.review.variables import verification_variables
from hls_handler.settings.path_globs import PathFilter
from hls_handler.settings.sections import ReviewSettings
from tests.engine.stand_in import StandIn
from tests.handlers.world import (
    event,
    file,
    finding,
    open_github,
    pull_request,
    pull_request_analysis,
)

CHANGED = "def rename(store, entry):\n    store.lock.release()\n    notify(entry)\n"
PATCH = "@@ -1,3 +1,3 @@\n def rename(store, entry):\n     store.lock.release()\n-    entry.tell()\n+    notify(entry)"
FILES = {
    "app/rename.py": CHANGED,
    "app/entries.py": "class Store:\n    def set_entry(self, entry):\n        self.entry = entry\n",
    "app/sync.py": "def sync(store, pool):\n    pool.map(store.set_entry, load())\n",
    "web/form.py": "def save(form):\n    form.store.set_entry(form.entry)\n",
    "secret/sync.py": "def sync(store):\n    store.set_entry(0)\n",
    "readme.md": "Call only_in_prose() first.\n",
}
LIMITS = PromptLimits(10_000, ignored_paths=PathFilter(("secret/**",)), is_review=True)


def make_github() -> StandIn:
    return open_github(pull_request(), (file("app/rename.py", PATCH),), head_files=FILES)


def make_source(limits: PromptLimits = LIMITS, github: StandIn | None = None) -> FactSource:
    reader = (github or make_github()).reader("octo/hello")
    return FactSource(event(pull_request()), reader, EMPTY_HISTORY, limits)


def reply(*names: str) -> PullRequestAnalysis:
    found = finding(
        path="app/rename.py",
        line=3,
        quote="    notify(entry)",
        severity="medium",
        confidence=0.9,
        look_up=list(names),
    )
    return pull_request_analysis(findings=[found])


def search(facts: PullRequestFacts, source: FactSource) -> LookedUp:
    head = source.reader.files_at(facts.pull_request.head_sha)
    return look_up(facts, list_names(facts), head, source.limits.ignored_paths)


def find(source: FactSource, *names: str) -> LookedUp:
    facts = gather(source).with_reply(reply(*names))
    return search(facts, source)


@pytest.mark.parametrize(
    "name",
    [
        *("set_entry", "Store.set_entry()", "store->set_entry(entry)"),
        *("(*Store).set_entry", "`set_entry<Entry>`", "Map<Key, Entry>.set_entry(load(entry))"),
    ],
)
def test_uses_of_a_name_come_before_its_definition(name: str) -> None:
    found = find(make_source(), name)
    assert [(site.kind, site.path, site.line) for site in found.second_sites] == [
        ("call", "web/form.py", 2),
        ("use", "app/sync.py", 2),
        ("definition", "app/entries.py", 2),
    ]
    assert found.not_found == ()


@pytest.mark.parametrize(
    "name", ["absent", "only_in_prose", ".*", "../../etc/passwd", "a\nb", "(", "--output=x"]
)
def test_what_has_no_place_is_not_found(name: str) -> None:
    assert find(make_source(), name, "set_entry").not_found == (name,)


def test_nothing_is_said_of_a_name_that_could_not_be_searched() -> None:
    facts = gather(make_source()).with_reply(reply("absent"))
    github = make_github()
    github.mirrors.is_enabled = False
    assert search(facts, make_source(github=github)) == LookedUp()
    assert github.calls == []


def test_second_look_at_a_sure_finding_shows_the_places_of_its_names() -> None:
    def show(facts: PullRequestFacts, source: FactSource) -> tuple[list[str], tuple[str, ...]]:
        """Return the paths of the other places of the second look, and the names without one."""
        facts = replace(facts, looked_up=search(facts, source))
        variables: Any = verification_variables(facts, facts.reply)
        return [site.path for site in variables["second_sites"]], variables["candidates"][
            0
        ].not_found

    source = make_source()
    facts = gather(source).with_reply(reply("set_entry", "absent"))
    paths = ["web/form.py", "app/sync.py", "app/entries.py"]
    assert show(facts, source) == (paths, ("absent",))
    assert verification_variables(facts, reply()) is None


def test_names_are_not_looked_up_without_a_second_look() -> None:
    source = make_source(replace(LIMITS, review=ReviewSettings(verify=False)))
    assert list_names(gather(source).with_reply(reply("set_entry"))) == {}
