"""Vectors of texts in Qdrant, which find texts by their meaning. They need the extra `qdrant`.

The embeddings service gets the texts; Qdrant gets vectors, scopes, keys and digests. A scope is
what one question may search, such as the documentation of one repository. The libraries are
imported inside functions, because they are optional.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import statistics
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import UUID, uuid5

import httpx2
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from hls_handler.errors import HlsError
from hls_handler.settings.providers import EmbeddingsSettings, QdrantSettings, Retrieval
from hls_handler.transport import find_proxy_settings, read_body, redact_secret, ssl_context

if TYPE_CHECKING:
    import openai
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

TIMEOUT_S = 20.0  # of one request
BATCH = 64  # texts in one request
MAX_CHARACTERS = 6_000  # of one text: many models take 8,192 tokens
MAX_BYTES = 16_000_000  # of one response; 64 vectors of 4,096 numbers have 6 MB
PAGE = 1_000  # points in one response
SAMPLE = 200
"""Texts of a scope whose similarities show what is usual. Their points have the smallest ids, which
are digests.
"""

DEVIATIONS = 3.0
"""A text counts if its similarity is this many standard deviations above the mean: models have no
common scale.
"""

PREFIX = "hls-"  # of the names of collections
POINTS = UUID("6f0d9f5e-2c53-4a0e-9a55-0d4c1d0f7a39")  # namespace of the ids of points


class VectorsUnavailable(HlsError):
    """Qdrant or the embeddings service cannot be used now: only full-text search is used."""


class _Embedding(BaseModel):
    index: int
    embedding: list[FiniteFloat] = Field(min_length=1)


class _Reply(BaseModel):
    data: list[_Embedding]


class _Payload(BaseModel):
    key: int
    digest: str


class Vectors:
    """Vectors in one Qdrant, by one model. Thread-safe. All methods except `close` raise
    `VectorsUnavailable`.
    """

    def __init__(
        self,
        qdrant: QdrantSettings,
        embeddings: EmbeddingsSettings,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Connect to nothing yet. Raises `SettingsError` if the proxy or certificate settings
        cannot be used.
        """
        self._qdrant_settings = qdrant
        self._embeddings = embeddings
        self._timeout_s = timeout_s
        self._qdrant_proxy = find_proxy_settings(qdrant.url or "")
        self._embeddings_proxy = find_proxy_settings(embeddings.base_url)
        self._key = ""
        if embeddings.api_key is not None:
            self._key = embeddings.api_key.get_secret_value()
        self._lock = threading.RLock()
        self._qdrant: QdrantClient | None = None
        self._openai: openai.OpenAI | None = None

    def check(self) -> None:
        """Request a vector, and the collections of a Qdrant server. Open no folder, because the
        service may use it.
        """
        self._embed(["size"])
        self.check_server()

    def check_server(self) -> None:
        """Request the collections of a Qdrant server, if settings name one. The embeddings service
        is not asked.
        """
        if self._qdrant_settings.url:
            with self._using_qdrant() as qdrant:
                qdrant.get_collections()

    def close(self) -> None:
        with self._lock:
            if self._qdrant is not None:
                self._qdrant.close()
            if self._openai is not None:
                self._openai.close()

    def update(self, scope: str, texts: Mapping[int, str]) -> None:
        """Make `texts` the only ones of the scope. Keys are of the caller: row ids, for example.

        Only new and changed ones are embedded, so a retry costs nothing.
        """
        if not texts:
            self._delete(scope, None)
            return
        stored = self._digests(scope)
        self._delete(scope, stored.keys() - texts.keys())
        changed = {key: text for key, text in texts.items() if stored.get(key) != _digest(text)}
        self._store(scope, changed)

    def nearest(self, scope: str, question: str, limit: int) -> tuple[int, ...]:
        """Return the keys of up to `limit` texts of the scope that stand out, the most similar
        first.

        In a scope of up to ten texts, none can stand out. After a failed `update`, keys may be
        those of texts that no longer exist; if keys are reused, the caller must check that the text
        is one of the scope.
        """
        from qdrant_client.models import Filter, HasIdCondition

        (vector,) = self._embed([question])
        collection = self._collection(len(vector))
        with self._using_qdrant() as qdrant:
            if not qdrant.collection_exists(collection):
                return ()
            records, _ = qdrant.scroll(
                collection, _filter_scope(scope), limit=SAMPLE, with_payload=False
            )
            if not records:
                return ()
            sample = Filter(must=[HasIdCondition(has_id=[record.id for record in records])])
            sampled = qdrant.query_points(
                collection, vector, query_filter=sample, limit=SAMPLE, with_payload=False
            )
            response = qdrant.query_points(
                collection, vector, query_filter=_filter_scope(scope), limit=limit
            )
            threshold = _threshold([point.score for point in sampled.points])
            return tuple(
                _Payload.model_validate(point.payload).key
                for point in response.points
                if point.score > threshold
            )

    def _store(self, scope: str, texts: Mapping[int, str]) -> None:
        from qdrant_client.models import PointStruct

        keys = [key for key, text in texts.items() if text.strip()]  # services reject an empty text
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            vectors = self._embed([texts[key] for key in batch])
            points = [
                PointStruct(
                    id=_point_id(scope, key),
                    vector=vector,
                    payload={"scope": scope, "key": key, "digest": _digest(texts[key])},
                )
                for key, vector in zip(batch, vectors, strict=True)
            ]
            with self._using_qdrant() as qdrant:
                qdrant.upsert(self._ensure_collection(qdrant, len(vectors[0])), points)

    def _delete(self, scope: str, keys: Collection[int] | None) -> None:
        """Delete the vectors of these keys, or of the whole scope if `keys` is None; also those of
        other models.
        """
        from qdrant_client.models import FilterSelector, PointIdsList

        selector: FilterSelector | PointIdsList = FilterSelector(filter=_filter_scope(scope))
        if keys is not None:
            if not keys:
                return
            selector = PointIdsList(points=[_point_id(scope, key) for key in keys])
        with self._using_qdrant() as qdrant:
            for collection in qdrant.get_collections().collections:
                if collection.name.startswith(PREFIX):
                    qdrant.delete(collection.name, selector)

    def _digests(self, scope: str) -> dict[int, str]:
        """Return the digest of each text of the scope, by its key."""
        (vector,) = self._embed(["size"])  # shows the size of the model's vectors
        collection = self._collection(len(vector))
        digests: dict[int, str] = {}
        with self._using_qdrant() as qdrant:
            if not qdrant.collection_exists(collection):
                return digests
            offset = None
            while True:
                records, offset = qdrant.scroll(
                    collection, _filter_scope(scope), limit=PAGE, offset=offset
                )
                payloads = (_Payload.model_validate(record.payload) for record in records)
                digests |= {payload.key: payload.digest for payload in payloads}
                if offset is None:
                    return digests

    def _collection(self, size: int) -> str:
        return f"{PREFIX}{quote(self._embeddings.model, safe='')}-{size}"

    def _ensure_collection(self, qdrant: QdrantClient, size: int) -> str:
        from qdrant_client.http.exceptions import UnexpectedResponse
        from qdrant_client.models import Distance, KeywordIndexParams, VectorParams

        collection = self._collection(size)
        if qdrant.collection_exists(collection):
            return collection
        try:
            qdrant.create_collection(collection, VectorParams(size=size, distance=Distance.COSINE))
        except UnexpectedResponse as exc:
            if exc.status_code != 409:  # another process has created it meanwhile
                raise
        if self._qdrant_settings.url:  # the local mode has no such index
            qdrant.create_payload_index(
                collection, "scope", KeywordIndexParams(type="keyword", is_tenant=True)
            )
        return collection

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        import openai

        try:
            with self._connect_openai().embeddings.with_streaming_response.create(
                model=self._embeddings.model,
                input=[text[:MAX_CHARACTERS] for text in texts],
                encoding_format="float",
            ) as response:
                body = read_body(response.iter_bytes(), MAX_BYTES)
        except openai.APIStatusError as exc:
            raise VectorsUnavailable(self._describe_status(exc)) from None
        except (openai.OpenAIError, httpx2.HTTPError) as exc:
            reason, remedy = self._embeddings_proxy.explain_failure(
                exc, otherwise="check that it runs, and retrieval.embeddings.base_url"
            )
            raise VectorsUnavailable(
                f"no answer from the embeddings service{reason}; {remedy}"
            ) from None
        try:
            reply = sorted(
                _Reply.model_validate_json(body or b"").data, key=lambda entry: entry.index
            )
        except ValidationError:
            reply = []
        if [entry.index for entry in reply] != [*range(len(texts))] or len(
            {len(entry.embedding) for entry in reply}
        ) != 1:
            raise VectorsUnavailable(
                "the embeddings service did not answer with a vector for each text; check"
                f" retrieval.embeddings.base_url, and that {self._embeddings.model} is a model for"
                " embeddings"
            )
        return [entry.embedding for entry in reply]

    def _describe_status(self, exc: openai.APIStatusError) -> str:
        reason = "no reason given"
        if isinstance(exc.body, dict) and isinstance(exc.body.get("message"), str):
            reason = redact_secret(exc.body["message"], self._key)
        keys = "base_url and retrieval.embeddings.model"
        if exc.status_code in (401, 403):
            keys = "api_key"
        return (
            f"the embeddings service answered {exc.status_code}: {reason}; check"
            f" retrieval.embeddings.{keys}"
        )

    def _connect_openai(self) -> openai.OpenAI:
        import openai

        with self._lock:
            if self._openai is None:
                self._openai = openai.OpenAI(
                    api_key=self._key or "none",  # the library needs one
                    base_url=self._embeddings.base_url,
                    timeout=self._timeout_s,
                    max_retries=0,
                    http_client=httpx2.Client(
                        transport=self._embeddings_proxy.new_transport(self._timeout_s),
                        trust_env=False,
                    ),
                )
            return self._openai

    @contextmanager
    def _using_qdrant(self) -> Iterator[QdrantClient]:
        from qdrant_client.common.client_exceptions import QdrantException
        from qdrant_client.http.exceptions import (
            ApiException,
            ResponseHandlingException,
            UnexpectedResponse,
        )

        # The client raises the last two for answers that it cannot read.
        unusable = (QdrantException, ApiException, AssertionError, ValueError)
        local = self._qdrant_settings.path
        try:
            with ExitStack() as stack:
                if local:  # the local mode of Qdrant is for one thread
                    stack.enter_context(self._lock)
                yield self._connect_qdrant()
        except UnexpectedResponse as exc:
            key = "url"
            if exc.status_code in (401, 403):
                key = "api_key"
            raise VectorsUnavailable(
                f"Qdrant answered {exc.status_code}; check retrieval.qdrant.{key}"
            ) from None
        except (*unusable, OSError, RuntimeError, sqlite3.Error) as exc:
            if local:
                why = redact_secret(str(exc))
                raise VectorsUnavailable(
                    f"the folder of retrieval.qdrant.path ({local}) cannot be used: {why}; one"
                    " process can open it, and several need a Qdrant server (retrieval.qdrant.url)"
                ) from None
            cause: BaseException = exc
            if isinstance(exc, ResponseHandlingException):
                cause = exc.source
            reason, remedy = self._qdrant_proxy.explain_failure(
                cause, otherwise="check that it runs, and retrieval.qdrant.url"
            )
            raise VectorsUnavailable(f"no usable answer from Qdrant{reason}; {remedy}") from None

    def _connect_qdrant(self) -> QdrantClient:
        from qdrant_client import QdrantClient

        settings = self._qdrant_settings
        proxy = self._qdrant_proxy
        with self._lock:
            if self._qdrant is None and settings.path:
                # It would use SQLite in one thread only, depending on the platform; the lock is
                # enough.
                self._qdrant = QdrantClient(
                    path=str(settings.path), force_disable_check_same_thread=True
                )
            elif self._qdrant is None:
                headers = {}
                if settings.api_key is not None:
                    headers["api-key"] = settings.api_key.get_secret_value()
                self._qdrant = QdrantClient(
                    url=settings.url,
                    headers=headers,
                    timeout=math.ceil(self._timeout_s),
                    check_compatibility=False,  # it would ask the server in a thread of its own
                    proxy=proxy.proxy,
                    verify=ssl_context(proxy.ca_path),
                    trust_env=False,
                )
            return self._qdrant


def connect_vectors(settings: Retrieval) -> Vectors | None:
    """Return the vectors in the Qdrant that the settings name; None if they name none. Raises
    `SettingsError`.
    """
    if settings.qdrant is None or settings.embeddings is None:
        return None
    return Vectors(settings.qdrant, settings.embeddings)


def _filter_scope(scope: str) -> Filter:
    from qdrant_client.models import FieldCondition, Filter, MatchValue

    return Filter(must=[FieldCondition(key="scope", match=MatchValue(value=scope))])


def _point_id(scope: str, key: int) -> str:
    return str(uuid5(POINTS, f"{key} {scope}"))


def _threshold(similarities: Sequence[float]) -> float:
    """Return the similarity above which a text stands out from a sample of its scope."""
    return statistics.fmean(similarities) + DEVIATIONS * statistics.pstdev(similarities)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
