"""Fake OpenAI-compatible service on loopback whose vectors are made of words: texts with common words are similar.

Words with the same meaning count as one word.
"""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler
from zlib import crc32

from tests.clients.fake_network import HOST, Quiet, Server

KEY = "sk-embeddings-of-the-tests"
SIZES = {"words": 256, "other/words": 256, "few-words": 128}
"""Numbers in a vector, by model."""

MEANINGS = {"rotate": "replace", "credentials": "secret", "crashes": "killed", "spend": "cost", "dollars": "cost"}


def embed(text: str, size: int) -> list[float]:
    """Return a vector that is the same for the same words. Its first number makes all texts a little similar."""
    vector = [1.0] + [0.0] * (size - 1)
    for word in re.findall(r"\w+", text.lower()):
        vector[1 + crc32(MEANINGS.get(word, word).encode()) % (size - 1)] += 1.0
    return vector


class FakeEmbeddings:
    """`embedded` has the texts of each request. A request without `KEY` is answered 401, an unknown model 404."""

    def __init__(self) -> None:
        self.embedded: list[list[str]] = []
        self._server = Server((HOST, 0), self._handler()).__enter__()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.port}/v1"

    def close(self) -> None:
        self._server.__exit__()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(Quiet):
            def do_POST(self) -> None:  # noqa: N802 (the name that http.server looks for)
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                given = self.headers["Authorization"].removeprefix("Bearer ")
                if self.path != "/v1/embeddings" or asked["model"] not in SIZES:
                    self.answer(404, {"error": {"message": f"no model {asked['model']}"}})
                elif given != KEY:
                    self.answer(401, {"error": {"message": f"Incorrect API key provided: {given}"}})
                else:
                    fake.embedded.append(asked["input"])
                    vectors = [embed(text, SIZES[asked["model"]]) for text in asked["input"]]
                    self.answer(200, {"data": [{"index": n, "embedding": v} for n, v in enumerate(vectors)][::-1]})

            def answer(self, status: int, body: object) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        return Handler
