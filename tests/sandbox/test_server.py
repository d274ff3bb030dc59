"""Start and stop of the sandbox."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hls_handler.sandbox.objects import Account
from hls_handler.sandbox.server import Sandbox, SandboxDown
from tests.sandbox.conftest import REPOSITORY, ask_github, github_client, seed_story


def test_several_sandboxes_can_run_in_one_process() -> None:
    threads = threading.active_count()
    for _ in range(3):
        with Sandbox() as one, Sandbox() as other:
            assert one.page_url != other.page_url
            seed_story(one)
            assert ask_github(one, "GET", f"/repos/{REPOSITORY}").status == 200
            assert ask_github(other, "GET", f"/repos/{REPOSITORY}").status == 404
    assert threading.active_count() == threads


def test_a_restarted_sandbox_has_the_same_port() -> None:
    sandbox = Sandbox().start()
    address = sandbox.github_url
    seed_story(sandbox)
    sandbox.stop()
    with pytest.raises(ConnectionRefusedError):
        ask_github(sandbox, "GET", "/user")
    sandbox.start()
    assert sandbox.github_url == address
    assert ask_github(sandbox, "GET", f"/repos/{REPOSITORY}/issues/11").status == 200
    sandbox.stop()


def test_stop_can_be_called_twice() -> None:
    sandbox = Sandbox().start()
    sandbox.stop()
    sandbox.stop()
    with pytest.raises(ConnectionRefusedError):
        ask_github(sandbox, "GET", "/user")


def test_an_idle_connection_does_not_delay_the_stop() -> None:
    sandbox = Sandbox().start()
    client = github_client(sandbox)
    assert client.get_user().login == "hls-bot"
    sandbox.stop()
    client.close()


def test_a_port_in_use_raises_sandbox_down() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SandboxDown, match=f"the sandbox cannot listen on 127.0.0.1:{port}"):
            Sandbox(port=port).start()


def test_a_port_can_be_chosen() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Sandbox(port=port) as sandbox:
        assert urlsplit(sandbox.page_url).port == port


def test_the_url_before_the_start_raises_sandbox_down() -> None:
    with pytest.raises(SandboxDown, match="no address before it is started"):
        _ = Sandbox().github_url


def test_the_state_file_is_loaded_by_a_new_sandbox(tmp_path: Path) -> None:
    path = tmp_path / "github.json"
    with Sandbox(path) as sandbox:
        seed_story(sandbox)
        ask_github(sandbox, "POST", f"/repos/{REPOSITORY}/issues/11/comments", {"body": "Still here."})
    with Sandbox(path) as again:
        (comment,) = ask_github(again, "GET", f"/repos/{REPOSITORY}/issues/11/comments").document
        assert comment["body"] == "Still here."


def test_credentials_and_account_can_be_chosen() -> None:
    bot = Account("hls[bot]", 7, "Bot")
    with Sandbox(token="another-token", me=bot) as sandbox:
        assert ask_github(sandbox, "GET", "/user").document["type"] == "Bot"
        assert ask_github(sandbox, "GET", "/user", Authorization="token sandbox-github-token").status == 401
