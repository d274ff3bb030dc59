"""`hls similar`: candidates of an issue, and the texts of issues that are stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.faults import Fault
from hls_handler.sandbox.server import Sandbox
from hls_handler.storage import Storage
from tests.cli.conftest import Hls
from tests.e2e.conftest import checked_sandbox
from tests.e2e.service import settings_text

REPOSITORY = "Codertocat/Hello-World"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with checked_sandbox() as running:
        yield running


@pytest.fixture
def similar(hls: Hls, folder: Path, sandbox: Sandbox, store: Storage) -> Hls:
    """`hls similar` with a database."""
    text = settings_text(sandbox, storage_url="sqlite:///hls.db", more="similar: {enabled: true}")
    (folder / "settings.yaml").write_text(text)
    return partial(hls, "similar")


def seed(
    sandbox: Sandbox, number: int, title: str, body: str = "Nothing else.", state: str = "open"
) -> None:
    payload: dict[str, Any] = dict(recorded.load("demo/bug").payload)
    url = f"https://github.com/{REPOSITORY}/issues/{number}"
    changes = {
        "number": number,
        "title": title,
        "body": body,
        "state": state,
        "labels": [],
        "html_url": url,
    }
    payload["issue"] = {**payload["issue"], **changes, "id": number}
    sandbox.state.seed("issues", payload)


@pytest.fixture
def tracker(sandbox: Sandbox) -> None:
    """Twelve open issues, of which 5 and 6 are about a cart, and a pull request."""
    seed(sandbox, 5, "Cart is empty after login", "Sign in, and the cart is empty.")
    seed(sandbox, 6, "Cart \x1b[31mempty", "The cart is empty after login.")
    for number in range(20, 29):
        seed(sandbox, number, f"Subject{number}")
    feature = recorded.load("demo/feature")
    sandbox.state.seed(feature.event, feature.payload)
    seed(sandbox, 40, "[Bug]: Cart empty once I sign in", "After login the cart is empty.")


@pytest.mark.usefixtures("tracker")
def test_open_issues_are_read_by_a_fill_and_then_found_as_candidates(
    similar: Hls, sandbox: Sandbox, store: Storage
) -> None:
    assert (
        similar(f"{REPOSITORY}#40").stdout
        == f"no issue of {REPOSITORY} is stored; `hls similar {REPOSITORY}` says what it takes to"
        " read them\n"
    )
    cost = "GitHub has 13 open issues and pull requests; --fill reads them with 1 request\n"
    assert similar(REPOSITORY).stdout == f"0 issues of {REPOSITORY} are stored\n{cost}"
    filled = (
        f"0 issues of {REPOSITORY} are stored\n{cost}12 open issues read, 0 deleted; 12 are"
        " stored\n"
    )
    assert similar(REPOSITORY, "--fill").stdout == filled
    assert [(change.action, change.object) for change in store.audit.find(most=9)] == [
        ("fill", REPOSITORY)
    ]
    seed(sandbox, 6, "Cart \x1b[31mempty", state="closed")
    sandbox.requests.clear()
    found = similar(f"{REPOSITORY}#40")
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.splitlines() == [
        f"12 issues stored; 2 similar to {REPOSITORY}#40",
        " 1.43       #5  open     Cart is empty after login",
        r" 0.99       #6  closed   Cart \x1b[31mempty",
        "Claude is shown the first 3 that are open",
    ]
    assert sorted(seen.path for seen in sandbox.requests.all("github")) == [
        f"/repos/{REPOSITORY}",
        *(f"/repos/{REPOSITORY}/issues/{number}" for number in (40, 5, 6)),
    ]
    document = json.loads(similar(f"{REPOSITORY}#40", "--json", "--limit", "1").stdout)
    (first,) = document["similar"]
    assert (document["stored"], first["number"], first["state"]) == (12, 5, "open")
    assert first["title"] == "Cart is empty after login"


@pytest.mark.usefixtures("tracker")
def test_second_fill_deletes_the_texts_of_closed_issues(similar: Hls, sandbox: Sandbox) -> None:
    similar(REPOSITORY, "--fill")
    seed(sandbox, 5, "Cart is empty after login", state="closed")
    assert similar(REPOSITORY, "--fill").stdout.endswith(
        "11 open issues read, 1 deleted; 11 are stored\n"
    )


def test_fill_stores_each_page_before_it_reads_the_next_one(
    similar: Hls, sandbox: Sandbox, store: Storage
) -> None:
    for number in range(1, 151):
        seed(sandbox, number, f"Subject{number}")
    sandbox.faults.add(Fault(effect="status", status=502, method="GET", path="/issues$", skip=1))
    failed = similar(REPOSITORY, "--fill")
    assert failed.exit_code == 1
    assert "502" in failed.stderr
    assert len(store.texts.versions("issue186853002")) == 100
    assert similar(REPOSITORY, "--fill").stdout.endswith(
        "150 open issues read, 0 deleted; 150 are stored\n"
    )


@pytest.mark.usefixtures("tracker")
def test_switched_off_and_pull_requests_are_named(similar: Hls, folder: Path) -> None:
    pull = similar(f"{REPOSITORY}#13")
    assert (pull.exit_code, pull.stderr) == (
        1,
        f"{REPOSITORY}#13 is a pull request; only issues are compared\n",
    )
    assert similar(f"{REPOSITORY}#40", "--fill").exit_code == 2
    settings = folder / "settings.yaml"
    settings.write_text(
        settings.read_text().replace("similar: {enabled: true}", "similar: {enabled: false}")
    )
    first = (
        f"similar.enabled is false for {REPOSITORY}: new issues are not compared with older ones"
    )
    assert similar(REPOSITORY).stdout.splitlines()[0] == first
