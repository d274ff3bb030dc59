"""`hls prompts list`, and its error messages."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from hls_handler.analysis import Usage
from hls_handler.deliveries import Lease
from hls_handler.reports.prompt_library import CorrectionCount, Version, list_versions
from hls_handler.store.storage import Storage
from tests.cli.conftest import SETTINGS, Hls
from tests.prompting.samples import write
from tests.queue.builders import begin, start_call

FRONT = "---\ndescription: Sort new issues\non: [issues.opened]\nreply: issue_analysis\n"
TASK = "Judge {{ issue.title }}\n"
LIBRARY = {
    "issues/mine.j2": (
        f'{FRONT}then: {{prompt: issues/more, when: "analysis.worth_saying"}}\n---\n{TASK}'
    ),
    "issues/mine.comment.md.j2": "{{ analysis.summary }}\n",
    "issues/more.j2": f"---\ndescription: More\nreply: issue_response\n---\n{TASK}",
}


@pytest.fixture
def prompts(hls: Hls, folder: Path) -> Hls:
    """`hls prompts` with a library of its own."""
    (folder / "settings.yaml").write_text(f"{SETTINGS}prompts: {{directory: lib}}\n")
    write(folder / "lib", LIBRARY)
    return partial(hls, "prompts")


def test_list_shows_events_and_files_and_creates_no_database(prompts: Hls, tmp_path: Path) -> None:
    listed = prompts("list")
    assert (listed.exit_code, listed.stderr) == (0, "")
    statistics = "replies 0  cost $0.00  corrected 0 of 0  failed 0"
    assert re.sub("@[0-9a-f]{6}", "@", listed.stdout).splitlines() == [
        (
            "issues/mine@  issues.opened  lib/issues/mine.j2, your own; from the shipped library:"
            f" base.j2, _repository_labels.j2  {statistics}"
        ),
        (
            "issues/more@  after issues/mine  lib/issues/more.j2, your own; from the shipped"
            f" library: base.j2  {statistics}"
        ),
        (
            f"{tmp_path}/settings.yaml:4 (storage.url): there is no database yet, so there are no"
            " statistics"
        ),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lib", "settings.yaml"]


def test_list_shows_a_line_for_each_version(prompts: Hls, store: Storage) -> None:
    def call(
        store: Storage,
        lease: Lease,
        prompt_id: str,
        *,
        cost_usd: float | None = None,
        error: str | None = None,
    ) -> None:
        call_id = start_call(store, lease, prompt_id)
        usage = None if cost_usd is None else Usage("claude-haiku", cost_usd=cost_usd)
        store.calls.end(
            lease, call_id, outcome="ok" if error is None else "failed", usage=usage, error=error
        )

    found = re.match(r"issues/mine@[0-9a-f]{6}", prompts("list").stdout)
    assert found is not None
    mine, lease = found[0], begin(store, "g1")
    call(store, lease, mine, cost_usd=0.001)
    call(store, lease, mine, cost_usd=0.002)
    call(store, lease, mine)  # a model without a price
    call(store, lease, "issues/mine@000001", cost_usd=0.25, error="Claude answered 400")
    call(store, lease, "issues/mine@000001", error="Claude answered 404\nDone: forged\x1b[2J")
    call(store, lease, "issues/miner@000000", cost_usd=9)
    listed = prompts("list")
    assert listed.exit_code == 0
    own, earlier, _ = re.sub(r"\d{4}-.{14} UTC", "TIME", listed.stdout).splitlines()
    assert own.startswith(f"{mine}  issues.opened  ")
    assert own.endswith(
        "  replies 3  cost $0.0030, and unknown for 1 call  corrected 0 of 0  failed 0"
    )
    assert earlier == (
        "issues/mine@000001  last error TIME: Claude answered 404 Done: forged\\x1b[2J  replies 0"
        "  cost $0.250  corrected 0 of 0  failed 2"
    )


def test_corrected_labels_are_shown_by_field() -> None:
    priority = CorrectionCount("issues/analyze@aaaaaa", "priority", 40, 6)
    component = CorrectionCount("issues/analyze@aaaaaa", "component", 1, 1)
    used = [
        Version("issues/analyze@000000", replies=1),
        Version("issues/analyze@111111", replies=2),
        Version("issues/analyze@aaaaaa", corrections=[priority, component]),
        Version("issues/other@aaaaaa", replies=9),
    ]
    versions = list_versions("issues/analyze@aaaaaa", used)
    assert [version.hash for version in versions] == ["aaaaaa", "111111", "000000"]
    assert versions[0].corrected == "priority: 6 of 40 labels, 15%; component: 1 of 1 label, 100%"


def test_list_names_the_line_of_a_broken_prompt(prompts: Hls, tmp_path: Path) -> None:
    write(tmp_path / "lib", {"issues/mine.j2": f"{FRONT}---\n{{% endfor %}}\n"})
    shown = prompts("list")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "lib/issues/mine.j2:6: Encountered unknown tag 'endfor'" in shown.stderr
