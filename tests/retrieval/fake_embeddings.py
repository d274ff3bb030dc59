"""Fake OpenAI-compatible service on loopback whose vectors are made of words: texts with common
words are similar.

Words with the same meaning count as one word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from zlib import crc32

from tests.fake_network import HOST, json_server

KEY = "sk-embeddings-of-the-tests"
SIZES = {"words": 256, "other/words": 256, "few-words": 128}
"""Numbers in a vector, by model."""

MEANINGS = {
    "rotate": "replace",
    "credentials": "secret",
    "crashes": "killed",
    "spend": "cost",
    "dollars": "cost",
}


def embed(text: str, size: int) -> list[float]:
    """Return a vector that is the same for the same words. Its first number makes all texts a
    little similar.
    """
    vector = [1.0] + [0.0] * (size - 1)
    for word in re.findall(r"\w+", text.lower()):
        vector[1 + crc32(MEANINGS.get(word, word).encode()) % (size - 1)] += 1.0
    return vector


class FakeEmbeddings:
    """`embedded` has the texts of each request. A request without `KEY` is answered 401, an unknown
    model 404.
    """

    def __init__(self) -> None:
        self.embedded: list[list[str]] = []
        self._server = json_server(self._respond)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.port}/v1"

    def close(self) -> None:
        self._server.__exit__()

    def _respond(
        self, path: str, headers: Mapping[str, str], raw: bytes
    ) -> tuple[int, object, Mapping[str, str]]:
        asked, given = json.loads(raw), headers["authorization"].removeprefix("Bearer ")
        if path != "/v1/embeddings" or asked["model"] not in SIZES:
            return 404, {"error": {"message": f"no model {asked['model']}"}}, {}
        if given != KEY:
            return 401, {"error": {"message": f"Incorrect API key provided: {given}"}}, {}
        self.embedded.append(asked["input"])
        vectors = [embed(text, SIZES[asked["model"]]) for text in asked["input"]]
        return (
            200,
            {"data": [{"index": n, "embedding": v} for n, v in enumerate(vectors)][::-1]},
            {},
        )
