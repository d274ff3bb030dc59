"""Processes that divide the work: some take webhooks in, others work on them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hls_handler.app import Role, Service
from hls_handler.errors import SettingsError
from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from hls_handler.settings.load import SettingsFile
from tests.e2e.service import Service as Process
from tests.e2e.service import free_port
from tests.machines.fleet import settings_for

SYNC = "features: {async_processing: false}"


def test_a_webhook_taken_in_by_one_process_is_answered_when_another_has_worked_on_it(
    sandbox: Sandbox, storage_url: str, tmp_path: Path
) -> None:
    def process(role: str) -> Process:
        port = free_port()
        path = settings_for(
            sandbox, tmp_path / role, limits="concurrency: 2", port=str(port), url=storage_url, more=SYNC
        )
        return Process(path, port, tmp_path / f"{role}.log", storage_url, options=("--role", role))

    web, worker = process("web"), process("worker")
    payload = recorded.load("demo/bug")
    sandbox.state.seed(payload.event, payload.payload)
    try:
        web.start()
        worker.start()
        answer = web.deliver(payload.event, payload.body)
        assert (answer.status, answer.body["status"]) == (200, "processed")
        assert worker.deliver(payload.event, payload.body).status == 404
        assert [service.get(page).status for service in (web, worker) for page in ("/health", "/stats")] == [200] * 4
        assert web.get("/stats").body["successful_processing"] == 1
    finally:
        assert [web.stop(), worker.stop()] == [0, 0]
    said = [json.loads(line) for service in (web, worker) for line in service.log.read_text().splitlines()]
    assert [(line["role"], line["webhook"]) for line in said if line["message"] == "serving"] == [
        ("web", f"http://127.0.0.1:{web.port}/webhook"),
        ("worker", None),
    ]


@pytest.mark.parametrize("role", ["web", "worker"])
def test_an_sqlite_file_is_not_divided(sandbox: Sandbox, tmp_path: Path, role: Role) -> None:
    url = f"sqlite:///{tmp_path}/hls.db"
    path = settings_for(sandbox, tmp_path, limits="concurrency: 2", port="0", url=url)
    with pytest.raises(SettingsError) as refused:
        Service(SettingsFile(path, os.environ, dotenv=tmp_path / ".env"), role=role)
    assert refused.value.problems == (
        (
            f"{path}:14 (storage.url): --role {role} needs a database that processes can share, and one process holds "
            "an SQLite file: name a postgresql+psycopg:// address, or serve without --role"
        ),
    )
