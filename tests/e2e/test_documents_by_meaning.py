"""Answers from the repository's documentation, from the webhook to the prompt."""

from __future__ import annotations

import copy
import json
from contextlib import closing
from pathlib import Path
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from tests.clients.fake_embeddings import KEY, FakeEmbeddings
from tests.e2e.conftest import MakeService
from tests.engine.test_documents_by_meaning import DOCUMENTS


def test_section_is_found_by_its_meaning_and_shown(make_service: MakeService, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.git.commit("Codertocat/Hello-World", DOCUMENTS)
    payload: dict[str, Any] = copy.deepcopy(dict(recorded.load("issues.opened").payload))
    payload["repository"]["default_branch"] = "main"
    payload["issue"] |= {"title": "rotate credentials", "body": ""}
    sandbox.state.seed("issues", payload)
    with closing(FakeEmbeddings()) as embeddings:
        keys = f"embeddings: {{base_url: '{embeddings.url}', api_key: {KEY}, model: words}}"
        more = f"retrieval: {{qdrant: {{path: {tmp_path}/vectors}}, {keys}}}"
        service = make_service(mirror=f"directory: {tmp_path}/mirror", more=more).start()
        service.deliver("issues", recorded.unique(json.dumps(payload).encode()))
        service.until_idle()
    (asked,) = [one.body for one in sandbox.requests.all("claude") if one.body]
    assert DOCUMENTS["secrets.md"] in json.dumps(asked)
