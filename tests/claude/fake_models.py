"""Fake services that answer prompts, on loopback: the Chat Completions API, and Claude's of
Anthropic, AWS and Google.

A request that the vendor's types reject, or without its credentials, gets an error as from the
vendor, and so does one with a header that has the text `LEAKED`, which tests set in variables of
the SDKs.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote

from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from tests.contracts.claude import close_objects, violations
from tests.fake_network import HOST, json_server

KEY = "sk-key-of-the-fake-models"
ACCESS_KEY_ID, REGION, PROJECT = "AKIAIOSFODNN7EXAMPLE", "eu-central-1", "my-project"
GOOGLE_TOKEN = "token-of-the-service-account"
LEAKED = "x-leaked"

AZURE = re.compile(r"/openai/deployments/([^/]+)/chat/completions")
BEDROCK = re.compile(r"/model/([^/]+)/invoke")
VERTEX = re.compile(
    rf"/v1/projects/{PROJECT}/locations/{REGION}/publishers/anthropic/models/([^/]+):rawPredict"
)


class FakeModels:
    """`answer` returns the text of a reply for a request's messages as one text. `status` other
    than 200 is an outage with `message`; 0 closes the connection without a response.

    `asked` has the path and body of each accepted request, `failed` counts the others, `tokens`
    those of Google.
    """

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer, self.status, self.headers = answer, 200, dict[str, str]()
        self.message = "Overloaded"
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.failed = self.tokens = 0
        self._lock = threading.Lock()
        self._server = json_server(self.respond)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.port}"

    @property
    def questions(self) -> list[str]:
        return [text_of(body) for _, body in self.asked]

    def close(self) -> None:
        self._server.__exit__()

    def respond(
        self, path: str, headers: Mapping[str, str], raw: bytes
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Return the status, the body and the headers of the response to a POST request."""
        status, document = self._answer(path, headers, raw)
        return status, document, self.headers if status != 200 else {}

    def _answer(self, path: str, headers: Mapping[str, str], raw: bytes) -> tuple[int, Any]:
        if path == "/token":
            self.tokens += 1
            is_valid = (
                b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer" in raw
                and self.status != 401
            )
            return (
                (200, {"access_token": GOOGLE_TOKEN, "expires_in": 3600})
                if is_valid
                else (400, {"error": "invalid"})
            )
        body = json.loads(raw)
        problem = self._find_problem(path, headers, body, raw)
        with self._lock:
            if self.status != 200 or problem is not None:
                self.failed += 1
                status, message = problem or (self.status, self.message)
                return status, {"error": {"type": "of the fake", "message": message}}
            self.asked.append((path, body))
        text = self.answer(text_of(body))
        return 200, (
            _completion(body, text)
            if path.endswith("/chat/completions")
            else _message(path, body, text)
        )

    def _find_problem(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any], raw: bytes
    ) -> tuple[int, str] | None:
        given = headers.get("authorization", "")
        if path == "/v1/chat/completions" or AZURE.fullmatch(path):
            sent = (
                headers.get("api-key") if AZURE.fullmatch(path) else given.removeprefix("Bearer ")
            )
            violation = find_violation(body)
        else:
            deployed = (found[1] for one in (BEDROCK, VERTEX) if (found := one.fullmatch(path)))
            model = next(deployed, body.get("model"))
            plain = {name: value for name, value in body.items() if name != "anthropic_version"} | {
                "model": model
            }
            request = {"method": "POST", "path": "/v1/messages", "query": {}, "body": plain}
            violation, sent = next(iter(violations([request])), None), given.removeprefix("Bearer ")
            if VERTEX.fullmatch(path):
                sent = KEY if sent == GOOGLE_TOKEN else ""
            elif given.startswith("AWS4"):
                sent = KEY if given == _sign(f"{self.url}{path}", headers, raw) else ""
        if violation is not None or LEAKED in str(headers):
            return 400, violation or f"Unknown header: {headers}"
        return None if sent == KEY else (401, f"Incorrect API key provided: {sent}")


def text_of(body: Mapping[str, Any]) -> str:
    return "\n".join(
        str(message["content"]) for message in body["messages"] if message["role"] == "user"
    )


def _sign(url: str, headers: Mapping[str, str], raw: bytes) -> str:
    """Return the header Authorization of AWS for a request."""
    given = headers["authorization"]
    signed = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest(
        "POST", url, headers={name: headers[name] for name in signed if name != "host"}, data=raw
    )
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(ACCESS_KEY_ID, KEY), "bedrock", REGION)
    signature = auth.signature(
        auth.string_to_sign(request, auth.canonical_request(request)), request
    )
    return f"{given.partition('Signature=')[0]}Signature={signature}"


def _completion(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    message = {
        "role": "assistant",
        "content": text,
        "refusal": None,
        "reasoning_content": "Let me think.",
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {
            "prompt_tokens": 1000,
            "completion_tokens": 500,
            "total_tokens": 1500,
            "prompt_tokens_details": {"cached_tokens": 400},
        },
    }


def _message(path: str, body: Mapping[str, Any], text: str) -> dict[str, Any]:
    model = body.get("model") or unquote(
        re.split(r"[/:]", path.removesuffix("/invoke").removesuffix(":rawPredict"))[-1]
    )
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1000, "output_tokens": 500},
    }


def find_violation(body: object) -> str | None:
    """Return the most relevant violation of a request's body; None if there is none."""
    worst = best_match(_validator().iter_errors(body))
    return None if worst is None else f"{worst.json_path}: {worst.message[:200]}"


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(
        close_objects(TypeAdapter(CompletionCreateParamsNonStreaming).json_schema())
    )
