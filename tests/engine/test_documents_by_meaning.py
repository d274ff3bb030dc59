"""Sections of the repository's documentation in a prompt: found by their words, and with Qdrant by
their meaning.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from hls_handler.reports.delivery_report import DeliveryReport
from hls_handler.retrieval.vectors import Vectors
from hls_handler.settings.providers import EmbeddingsSettings, QdrantSettings
from tests.engine.world import MakeWorld, World, settings
from tests.fake_server import FakeServer, Say
from tests.handlers.world import ISSUE
from tests.retrieval.fake_embeddings import KEY, FakeEmbeddings

DOCUMENTS = {
    "install.md": "Install with pip on Debian or in a container",
    "backup.md": "Backup copies the database while the service runs",
    "secrets.md": "Replace the webhook secret without losing deliveries",
    "labels.md": "Labels for priority follow from the effect",
    "reviews.md": "Reviews comment on lines of a pull request",
    "traces.md": "Tracing sends spans by OpenTelemetry",
    "prompts.md": "Prompts are Jinja templates in folders",
    "cost.md": "Budgets limit what calls may cost per month",
    "proxy.md": "Proxies and certificates come from variables",
    "upgrade.md": "Migrations run in one transaction",
    "dismiss.md": "Findings are dismissed by an answer in their thread",
    "metrics.md": "Metrics are for Prometheus and Grafana",
    "leases.md": "A delivery is claimed again if its machine is killed",
    "console.md": "The console shows deliveries and figures",
}
ROTATE = "rotate credentials"


@pytest.fixture
def embeddings() -> Iterator[FakeEmbeddings]:
    with closing(FakeEmbeddings()) as fake:
        yield fake


@pytest.fixture
def vectors(embeddings: FakeEmbeddings, tmp_path: Path) -> Iterator[Vectors]:
    with closing(connect(embeddings.url, tmp_path)) as opened:
        yield opened


def connect(url: str, folder: Path) -> Vectors:
    return Vectors(
        QdrantSettings(path=folder / "vectors"),
        EmbeddingsSettings(base_url=url, api_key=SecretStr(KEY), model="words"),
        timeout_s=0.2,
    )


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    made = make_world(given=settings(limits={"thread_runs_per_hour": 100}, retrieval=True))
    made.github.commit(DOCUMENTS, branch="master")
    return made


def ask(world: World, question: str) -> DeliveryReport:
    """Process an issue with the question."""
    guid = uuid4().hex
    world.github.put_issue(replace(ISSUE, title=question, body=""))
    assert world.process(guid=guid).state == "done"
    return world.report(guid)


def test_changed_document_is_found_by_its_new_meaning(
    world: World, vectors: Vectors, embeddings: FakeEmbeddings
) -> None:
    world.vectors = vectors
    assert ask(world, ROTATE).context == "1 section of secrets.md (about 15 tokens)"
    changed = DOCUMENTS | {
        "secrets.md": "Nothing is here",
        "labels.md": "Secret labels replace others",
    }
    world.github.commit(changed, branch="master")
    embeddings.embedded.clear()
    world.advance(3601)
    assert ask(world, ROTATE).context == "1 section of labels.md (about 8 tokens)"
    assert sorted(embeddings.embedded[1]) == ["\nNothing is here", "\nSecret labels replace others"]


def test_failing_service_leaves_the_full_text_search_and_is_asked_once(
    world: World, tmp_path: Path, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.says = [Say(503, {"error": {"message": "overloaded"}})]
    reason = (
        "the embeddings service answered 503: overloaded; check retrieval.embeddings.base_url and "
        "retrieval.embeddings.model"
    )
    with (
        closing(connect(f"{server.url}/v1", tmp_path)) as world.vectors,
        caplog.at_level(logging.WARNING),
    ):
        report = ask(world, "Grafana support")
    assert server.calls == ["POST /v1/embeddings"]
    assert report.context == "1 section of metrics.md (about 11 tokens)"
    assert report.omitted == (f"the documentation was searched by its words alone: {reason}",)
    assert [
        record.__dict__["reason"]
        for record in caplog.records
        if record.name.endswith(".handler_job")
    ] == [reason]
    found = world.component("vectors")
    assert (found.state, found.message) == ("degraded", reason)
    assert found.remedy == "do what the message says; the full-text search answers alone meanwhile"


def test_health_is_restored_by_the_next_answer_of_the_services(
    world: World, vectors: Vectors, tmp_path: Path, server: FakeServer
) -> None:
    assert "vectors" not in world.health.snapshot().components
    server.says = [Say(503)]
    with closing(connect(f"{server.url}/v1", tmp_path / "other")) as world.vectors:
        ask(world, ROTATE)
    assert world.component("vectors").state == "degraded"
    world.vectors = vectors
    ask(world, ROTATE)
    assert world.component("vectors").state == "healthy"


def test_both_reasons_are_named_if_neither_documents_nor_vectors_can_be_read(
    world: World, tmp_path: Path, server: FakeServer
) -> None:
    world.github.mirrors.is_enabled = False
    server.says = [Say(503)]
    with closing(connect(f"{server.url}/v1", tmp_path)) as world.vectors:
        (note,) = ask(world, ROTATE).omitted
    assert note.startswith(
        "the documentation of the repository was not read: mirror.enabled is false; the documentation "
    )
    assert " was searched by its words alone: the embeddings service answered 503" in note


def test_question_is_redacted_before_it_is_embedded(
    world: World, vectors: Vectors, embeddings: FakeEmbeddings
) -> None:
    world.vectors = vectors
    secret = "ghp_" + "a1B2" * 9
    ask(world, f"rejected: {secret}")
    assert embeddings.embedded[-1][0].startswith("rejected: ")
    assert secret not in str(embeddings.embedded)
