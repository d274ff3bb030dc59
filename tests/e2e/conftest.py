"""Fixtures of end-to-end tests: the sandbox, and the real service as its own process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hls_sandbox.claude import Answerer, canned
from tests.contracts import claude as claude_contract
from tests.contracts import github as github_contract
from tests.e2e.service import Service, free_port, settings_text
from tests.github_fake.server import Sandbox

MakeService = Callable[..., Service]


@dataclass(frozen=True)
class Shared:
    """One running service and its sandbox for all tests of a module: each test uses its own
    issues.
    """

    service: Service
    sandbox: Sandbox


@contextmanager
def checked_sandbox(answer: Answerer = canned) -> Iterator[Sandbox]:
    """Run a stand-in GitHub and Claude. At the end, every logged request must be valid for the
    published APIs.
    """
    with Sandbox(answer=answer) as running:
        yield running
    assert violations(request.document() for request in running.requests.all()) == []


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with checked_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with (
        checked_sandbox() as running,
        service_maker(running, tmp_path_factory.mktemp("shared")) as make,
    ):
        yield Shared(make(port=free_port()).start(), running)


def violations(requests: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what GitHub's OpenAPI description and Claude's SDK forbid in requests that a sandbox
    logged.
    """
    asked = list(requests)
    return [
        *github_contract.violations(
            request for request in asked if request["stand_in"] == "github"
        ),
        *claude_contract.violations(
            request for request in asked if request["stand_in"] == "claude"
        ),
    ]


@contextmanager
def service_maker(sandbox: Sandbox, folder: Path) -> Iterator[MakeService]:
    """Yield a function that makes services without starting them; they are stopped at the end."""
    made: list[Service] = []

    def make(*, storage_url: str | None = None, port: int = 0, **options: Any) -> Service:
        url = storage_url or f"sqlite:///{folder}/hls.db"
        path = folder / f"settings-{len(made)}.yaml"
        path.write_text(settings_text(sandbox, port=port, storage_url=url, **options))
        made.append(Service(path, port, folder / f"service-{len(made)}.log", url))
        return made[-1]

    yield make
    for service in made:
        service.stop()


@pytest.fixture
def make_service(sandbox: Sandbox, tmp_path: Path) -> Iterator[MakeService]:
    with service_maker(sandbox, tmp_path) as make:
        yield make


@pytest.fixture
def service(make_service: MakeService) -> Service:
    return make_service().start()
