"""Processes with roles: one receives webhooks, another one processes them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hls_handler.app import Service
from hls_handler.engine.processing import Role
from hls_handler.errors import SettingsError
from hls_handler.logs import LogRing
from hls_handler.prompting import recorded
from hls_handler.settings.reload import SettingsFile
from tests.e2e.service import Service as Process
from tests.github_fake.server import Sandbox
from tests.machines.fleet import settings_for

SYNC = "features: {async_processing: false}"


def test_web_process_responds_when_worker_process_has_finished_the_delivery(
    sandbox: Sandbox, storage_url: str, tmp_path: Path
) -> None:
    def process(role: str) -> Process:
        path = settings_for(
            sandbox, tmp_path / role, limits="concurrency: 2", url=storage_url, more=SYNC
        )
        return Process(path, 0, tmp_path / f"{role}.log", storage_url, options=("--role", role))

    web, worker = process("web"), process("worker")
    payload = recorded.load("demo/bug")
    sandbox.state.seed(payload.event, payload.payload)
    try:
        web.start()
        worker.start()
        response = web.deliver(payload.event, payload.body)
        assert (response.status, response.body["status"]) == (200, "processed")
        assert worker.deliver(payload.event, payload.body).status == 404
        assert [
            service.get(page).status for service in (web, worker) for page in ("/health", "/stats")
        ] == [200] * 4
        assert web.get("/stats").body["successful_processing"] == 1
    finally:
        assert [web.stop(), worker.stop()] == [0, 0]
    lines = [
        json.loads(line)
        for service in (web, worker)
        for line in service.log.read_text().splitlines()
    ]
    assert [(line["role"], line["webhook"]) for line in lines if line["message"] == "serving"] == [
        ("web", f"http://127.0.0.1:{web.port}/webhook"),
        ("worker", None),
    ]


@pytest.mark.parametrize("role", ["web", "worker"])
def test_role_is_rejected_for_sqlite(sandbox: Sandbox, tmp_path: Path, role: Role) -> None:
    url = f"sqlite:///{tmp_path}/hls.db"
    path = settings_for(sandbox, tmp_path, limits="concurrency: 2", url=url)
    with pytest.raises(SettingsError) as raised:
        Service(SettingsFile(path, os.environ, dotenv=tmp_path / ".env"), LogRing(), role=role)
    assert raised.value.problems == (
        (
            f"{path}:14 (storage.url): --role {role} needs a database that processes can share, but"
            " only one process can use an SQLite file: name a postgresql+psycopg:// address, or"
            " serve without --role"
        ),
    )
