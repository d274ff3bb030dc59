"""Vectors in Qdrant: its local mode in a folder, a server with prepared responses, and a fake
embeddings service.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from hls_handler.retrieval.vectors import Vectors, VectorsUnavailable
from hls_handler.settings.providers import EmbeddingsSettings, QdrantSettings
from tests.fake_server import FakeServer, Say
from tests.retrieval.fake_embeddings import KEY, FakeEmbeddings, embed

TEXTS = {
    1: "Install with pip, on Debian or in a container",
    2: "Backup copies the database while the service runs",
    3: "Webhooks need a secret, at least sixteen bytes long",
    4: "Labels for priority follow from the effect",
    5: "Reviews comment on lines of a pull request",
    6: "Tracing sends spans by OpenTelemetry",
    7: "Prompts are Jinja templates in folders",
    8: "Budgets limit what calls may cost per month",
    9: "Proxies and certificates come from variables",
    10: "Migrations run in one transaction",
    11: "Findings are dismissed by an answer in their thread",
    12: "Metrics are for Prometheus and Grafana",
    13: "Leases expire when a machine freezes",
    14: "The console shows deliveries and figures",
}
REFUSED = "http://127.0.0.1:1"  # nothing listens there
Build = Callable[..., Vectors]


@pytest.fixture
def service() -> Iterator[FakeEmbeddings]:
    with closing(FakeEmbeddings()) as fake:
        yield fake


@pytest.fixture
def build(service: FakeEmbeddings, tmp_path: Path) -> Iterator[Build]:
    """Return a function that creates vectors in tmp_path, by the fake service."""
    created: list[Vectors] = []

    def create(
        *,
        qdrant: QdrantSettings | None = None,
        url: str = service.url,
        key: str = KEY,
        model: str = "words",
        timeout_s: float = 30,
    ) -> Vectors:
        embeddings = EmbeddingsSettings(base_url=url, api_key=SecretStr(key), model=model)
        created.append(
            Vectors(
                qdrant or QdrantSettings(path=tmp_path / "vectors"), embeddings, timeout_s=timeout_s
            )
        )
        return created[-1]

    yield create
    for vectors in created:
        vectors.close()


# --- what is found
# -----------------------------------------------------------------------------


def test_the_most_similar_text_is_first_and_no_more_are_returned_than_wanted(build: Build) -> None:
    vectors = build()
    many = {
        key: f"{text} {' '.join(f'x{key}y{n}' for n in range(9))}" for key, text in TEXTS.items()
    }
    many |= {key: f"file number {key} filler{key} words{key}" for key in range(100, 160)}
    many |= {
        20: "rotate the secret",
        21: "rotate the secret now",
        22: "rotate the secret now please",
    }
    vectors.update("document1", many)
    assert vectors.nearest("document1", "rotate the secret", 3) == (20, 21, 22)
    assert vectors.nearest("document1", "rotate the secret", 2) == (20, 21)


def test_text_of_one_scope_is_never_found_in_another(build: Build) -> None:
    vectors = build()
    vectors.update("document1", TEXTS)
    vectors.update(
        "document11",
        {key: text for key, text in TEXTS.items() if key != 3} | {99: "the hidden plan"},
    )
    question = "Webhooks need a secret, at least sixteen bytes long"
    assert vectors.nearest("document1", question, 3) == (3,)
    assert vectors.nearest("document11", question, 3) == ()
    assert vectors.nearest("document1", "the hidden plan", 3) == ()
    assert vectors.nearest("document", question, 3) == ()


@pytest.mark.parametrize("model", ["other/words", "few-words"])
def test_vectors_of_another_model_are_not_compared(build: Build, model: str) -> None:
    with closing(build()) as before:
        before.update("document1", TEXTS)
    after = build(model=model)
    assert after.nearest("document1", TEXTS[3], 3) == ()
    after.update("document1", TEXTS)
    assert after.nearest("document1", TEXTS[3], 3) == (3,)


# --- what is stored
# -----------------------------------------------------------------------------


def test_update_embeds_only_new_and_changed_texts_and_deletes_the_others(
    build: Build, service: FakeEmbeddings
) -> None:
    vectors = build()
    vectors.update("document1", TEXTS)
    vectors.update("document2", TEXTS)
    service.embedded.clear()
    changed = {key: text for key, text in TEXTS.items() if key != 5} | {
        4: "Grades follow from rules",
        15: "Audits",
    }
    vectors.update("document1", changed)
    assert service.embedded == [["size"], ["Grades follow from rules", "Audits"]]
    assert vectors.nearest("document1", TEXTS[5], 3) == ()
    assert vectors.nearest("document2", TEXTS[5], 3) == (5,)
    vectors.update("document1", {})
    assert vectors.nearest("document1", TEXTS[3], 3) == ()


def test_threads_share_the_folder(build: Build) -> None:
    vectors = build()

    def fill(scope: str) -> tuple[int, ...]:
        vectors.update(scope, TEXTS)
        return vectors.nearest(scope, TEXTS[3], 3)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(fill, [f"document{number}" for number in range(8)])) == [(3,)] * 8


# --- a Qdrant server
# -----------------------------------------------------------------------------

QDRANT_KEY = "qdrant-key-of-the-tests"
PLACE = "/collections/hls-words-256"
COMPLETED = Say(body={"result": {"operation_id": 0, "status": "completed"}})


@pytest.fixture
def on_server(build: Build, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Vectors:
    monkeypatch.setenv("HTTP_PROXY", REFUSED)  # has no effect
    return build(
        qdrant=QdrantSettings(url=server.url, api_key=SecretStr(QDRANT_KEY)), timeout_s=0.2
    )


def points(*keys: int, following: str | None = None) -> Say:
    found = [
        {"id": n, "payload": {"scope": "document1", "key": n, "digest": "of another text"}}
        for n in keys
    ]
    return Say(body={"result": {"points": found, "next_page_offset": following}})


@pytest.mark.parametrize(
    "created", [Say(body={"result": True}), Say(409)], ids=["by this process", "by another"]
)
def test_server_gets_a_new_collection_with_vectors_but_no_text(
    on_server: Vectors, server: FakeServer, created: Say
) -> None:
    missing = Say(body={"result": {"exists": False}})
    server.says = [missing, missing, created, COMPLETED, COMPLETED]
    on_server.update("document1", {7: "Plan"})
    assert server.calls[1:] == [
        f"GET {PLACE}/exists",
        f"PUT {PLACE}",
        f"PUT {PLACE}/index",
        f"PUT {PLACE}/points",
    ]
    assert {seen.headers["api-key"] for seen in server.seen} == {QDRANT_KEY}
    assert server.seen[2].body["vectors"] == {"size": 256, "distance": "Cosine"}
    (point,) = server.seen[4].body["points"]
    assert (point["vector"], point["payload"].keys()) == (
        embed("Plan", 256),
        {"scope", "key", "digest"},
    )
    assert "Plan" not in json.dumps(server.seen[4].body)


def test_check_of_the_server_asks_no_embeddings_service(
    on_server: Vectors, server: FakeServer
) -> None:
    server.says = [
        Say(body={"result": {"collections": []}, "status": "ok", "time": 0}),
        Say(503, b"down"),
    ]
    on_server.check_server()
    with pytest.raises(VectorsUnavailable, match="Qdrant answered 503"):
        on_server.check_server()
    assert server.calls == ["GET /collections", "GET /collections"]


def test_update_reads_all_pages_and_deletes_in_all_collections_of_hls(
    on_server: Vectors, server: FakeServer
) -> None:
    exists = Say(body={"result": {"exists": True}})
    names = Say(
        body={
            "result": {
                "collections": [
                    {"name": "theirs"},
                    {"name": "hls-old-9"},
                    {"name": "hls-words-256"},
                ]
            }
        }
    )
    server.says = [
        exists,
        points(1, 2, following="2"),
        points(3),
        names,
        COMPLETED,
        COMPLETED,
        exists,
        COMPLETED,
    ]
    on_server.update("document1", {3: "Plan"})
    assert server.calls[3:] == [
        "GET /collections",
        "POST /collections/hls-old-9/points/delete",
        f"POST {PLACE}/points/delete",
        f"GET {PLACE}/exists",
        f"PUT {PLACE}/points",
    ]
    assert len(set(server.seen[4].body["points"])) == 2


# --- failures
# -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("say", "message"),
    [
        (
            Say(kind="hang"),
            (
                "no usable answer from Qdrant: ReadTimeout; check that it runs, and"
                " retrieval.qdrant.url"
            ),
        ),
        (
            Say(body=b"<html>"),
            (
                "no usable answer from Qdrant: JSONDecodeError; check that it runs, and"
                " retrieval.qdrant.url"
            ),
        ),
        (
            Say(body={"status": "ok"}),
            (
                "no usable answer from Qdrant: AssertionError; check that it runs, and"
                " retrieval.qdrant.url"
            ),
        ),
        (
            Say(401, {"status": {"error": QDRANT_KEY}}),
            "Qdrant answered 401; check retrieval.qdrant.api_key",
        ),
        (Say(500, b"oops"), "Qdrant answered 500; check retrieval.qdrant.url"),
    ],
    ids=["hangs", "is no Qdrant", "answers without a result", "rejects the key", "fails"],
)
def test_failing_qdrant_is_one_error_with_the_next_step(
    on_server: Vectors, server: FakeServer, say: Say, message: str
) -> None:
    server.says = [say]
    with pytest.raises(VectorsUnavailable) as raised:
        on_server.nearest("document1", "a question", 3)
    assert str(raised.value) == message


WRONG = {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0]}]}
CHECK_URL = "check that it runs, and retrieval.embeddings.base_url"
CHECK_MODEL = "check retrieval.embeddings.base_url and retrieval.embeddings.model"
NO_VECTORS = (
    "the embeddings service did not answer with a vector for each text; check"
    " retrieval.embeddings.base_url, and that words is a model for embeddings"
)


@pytest.mark.parametrize(
    ("say", "message"),
    [
        (Say(body=b"<html>"), NO_VECTORS),
        (Say(body=WRONG), NO_VECTORS),
        (Say(body={"data": [{"index": 0, "embedding": []}]}), NO_VECTORS),
        (Say(body=b'{"data": [{"index": 0, "embedding": [NaN]}]}'), NO_VECTORS),
        (
            Say(500, {"error": {"message": "out of memory"}}),
            f"the embeddings service answered 500: out of memory; {CHECK_MODEL}",
        ),
        (
            Say(kind="hang"),
            f"no answer from the embeddings service: APITimeoutError; {CHECK_URL}",
        ),
    ],
    ids=["no JSON", "two vectors", "an empty vector", "no number", "fails", "hangs"],
)
def test_failing_embeddings_service_is_one_error_with_the_next_step(
    build: Build, server: FakeServer, say: Say, message: str
) -> None:
    server.says = [say]
    timeout_s = 0.2 if say.kind == "hang" else 30.0
    with pytest.raises(VectorsUnavailable) as raised:
        build(url=f"{server.url}/v1", timeout_s=timeout_s).nearest("document1", "a question", 3)
    assert str(raised.value) == message
    assert server.calls == ["POST /v1/embeddings"]


@pytest.mark.parametrize(
    ("key", "model", "message"),
    [
        (
            "sk-wrong-key-of-the-tests",
            "words",
            (
                "the embeddings service answered 401: Incorrect API key provided: ***; check"
                " retrieval.embeddings.api_key"
            ),
        ),
        (
            KEY,
            "gpt",
            f"the embeddings service answered 404: no model gpt; {CHECK_MODEL}",
        ),
    ],
)
def test_rejected_key_or_model_names_the_setting_without_the_key(
    build: Build, key: str, model: str, message: str
) -> None:
    with pytest.raises(VectorsUnavailable) as raised:
        build(key=key, model=model).nearest("document1", "a question", 3)
    assert str(raised.value) == message


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_folder_that_another_process_has_open_is_an_error_until_it_is_free(
    build: Build, tmp_path: Path
) -> None:
    first, second = build(), build()
    first.update("document1", TEXTS)
    where = re.escape(f"the folder of retrieval.qdrant.path ({tmp_path}/vectors) cannot be used: ")
    with pytest.raises(
        VectorsUnavailable, match=f"^{where}.*; one process can open it, and several need a Qdrant"
    ):
        second.nearest("document1", TEXTS[3], 3)
    first.close()
    assert second.nearest("document1", TEXTS[3], 3) == (3,)
    gc.collect()  # Qdrant leaves the file of the lock open
