"""Fixtures of end-to-end tests: the sandbox, and the real service as its own process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hls_handler.sandbox.server import Sandbox
from tests.contracts import claude as claude_contract
from tests.contracts import github as github_contract
from tests.e2e.service import ROOT, Service, settings_text

MakeService = Callable[..., Service]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A stand-in GitHub and Claude. At the end, every logged request must be valid for the published APIs."""
    with Sandbox() as running:
        yield running
    assert violations(request.document() for request in running.requests.all()) == []


def violations(requests: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what GitHub's OpenAPI description and Claude's SDK forbid in requests that a sandbox logged."""
    asked = list(requests)
    return [
        *github_contract.violations(request for request in asked if request["stand_in"] == "github"),
        *claude_contract.violations(request for request in asked if request["stand_in"] == "claude"),
    ]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A copy of the shipped prompts for changes."""
    return Path(shutil.copytree(ROOT / "prompts", tmp_path / "prompts"))


@pytest.fixture
def make_service(sandbox: Sandbox, tmp_path: Path) -> Iterator[MakeService]:
    """Return a function that makes services without starting them; they are stopped at the end."""
    made: list[Service] = []

    def make(
        *,
        more: str = "",
        storage_url: str | None = None,
        prompts: str = "prompts",
        limits: str = "concurrency: 4",
        server: str = "",
        slowest_write_s: float = 1,
        port: int = 0,
        catch_up: str = "enabled: false",
    ) -> Service:
        url = storage_url or f"sqlite:///{tmp_path}/hls.db"
        path = tmp_path / f"settings-{len(made)}.yaml"
        path.write_text(
            settings_text(
                sandbox,
                port=port,
                storage_url=url,
                prompts=prompts,
                more=more,
                limits=limits,
                server=server,
                slowest_write_s=slowest_write_s,
                catch_up=catch_up,
            )
        )
        made.append(Service(path, port, tmp_path / f"service-{len(made)}.log", url))
        return made[-1]

    yield make
    for service in made:
        service.stop()


@pytest.fixture
def service(make_service: MakeService) -> Service:
    return make_service().start()
