"""Mirrors of repositories, with a real git server on loopback."""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hls_handler.git.mirror import UNMERGEABLE, Hit, MirrorDisk, Mirrors, Pick, PickConflict
from hls_handler.git.run import find_git
from hls_handler.github.api import GithubApi
from hls_handler.github.labels import RepositoryLabels
from hls_handler.github.reader import GithubReader
from hls_handler.github.source import CommitFiles
from hls_handler.settings.model import MirrorSettings
from tests.fake_network import Authority, Proxy, tls_server
from tests.fake_server import FakeServer, Say
from tests.git.git_server import GitServer, Origin
from tests.github.review_world import NOON, github_settings

TOKEN = "ghp_mirrormirrormirrormirror"
REJECTED = "GitHub rejected the credential for git, or it may not read the repository"
UNREACHABLE = "the git server did not answer as expected"
FULL = "no room is left on the disk of mirror.directory"
UNEXPECTED = "git could not fetch the commit; the log has its message"


class World:
    """A git server, and mirrors in a folder, whose clock `now` and `disk_bytes` tests set.

    `reports` lists those of the git host.
    """

    def __init__(self, folder: Path, *, most_waiting: int = 1) -> None:
        self.folder = folder
        self.origin = Origin(folder / "served/o/r.git")
        self.server = GitServer(folder / "served", token=TOKEN)
        self.settings = MirrorSettings(directory=folder / "mirror")
        self.now = 0.0
        self.wait: Callable[[float], None] = lambda _: None
        self.reports: list[str] = []
        self.disk_bytes = 10**12  # the size of a disk that has only the mirrors
        # what others use, by each time that the room is read
        self.other_bytes: Iterator[int] = iter(())
        self.mirrors = Mirrors(
            lambda: self.settings,
            most_waiting=most_waiting,
            report=self.reports.append,
            clock=lambda: self.now,
            sleep=lambda seconds: self.wait(seconds),
            free_bytes=lambda folder: (
                self.disk_bytes - self.mirror_bytes() - next(self.other_bytes, 0)
            ),
        )

    def mirror_bytes(self) -> int:
        return sum(
            path.stat().st_size for path in self.settings.directory.rglob("*") if path.is_file()
        )

    def change(self, **settings: Any) -> None:
        self.settings = self.settings.model_copy(update=settings)

    def open(
        self,
        commit: str,
        *,
        token: str = TOKEN,
        repository: str = "o/r",
        base_url: str | None = None,
    ) -> CommitFiles:
        url = base_url or self.server.base_url
        api = GithubApi(github_settings(url, token), now=lambda: NOON, timeout_s=5.0)
        reader = GithubReader(
            api.of(repository), RepositoryLabels(lambda: 0.0), mirrors=self.mirrors
        )
        with closing(api):
            files = reader.files_at(commit)
            assert isinstance(files.no_mirror, str)  # the commit is fetched now
            return files

    def find_reason(self, name: str, commit: str) -> str:
        """Open the mirror of "o/NAME", and return why there is none."""
        return self.open(commit, repository=f"o/{name}").no_mirror

    def commit_twice(self) -> tuple[str, str]:
        """Commit a file "a" with the line 1, and one with the line 2."""
        return self.origin.commit({"a": b"1\n"}), self.origin.commit({"a": b"2\n"})

    def commit_large(self) -> str:
        return self.origin.commit({f"{n}.txt": os.urandom(500_000) for n in range(10)})

    def mirrored(self) -> list[str]:
        """Return the names of the repositories that have a mirror: ["r"]."""
        return sorted(
            path.parent.name.rpartition("-")[0] for path in self.settings.directory.glob("*/git")
        )

    def texts(self) -> bytes:
        """Return the content of all files of the mirrors, except packs."""
        files = (path for path in self.settings.directory.rglob("*") if path.is_file())
        return b"\n".join(
            path.read_bytes() for path in files if path.suffix not in (".pack", ".idx")
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path)
    with closing(opened.server):
        yield opened


def text(files: CommitFiles, path: str) -> str | None:
    return files.texts([path]).get(path)


def test_files_and_lines_are_those_of_the_commit(world: World) -> None:
    base = world.origin.commit(
        {"src/a.py": b"def pay(x):\n    return x\n", "b.py": b"pay(1)\nprepay(2)\npay(3)\n"}
    )
    head = world.origin.commit({"src/a.py": b"def pay(x, y):\n    return x\n", "b.py": b"pay(1)\n"})
    before, after = world.open(base), world.open(head)
    assert before.no_mirror == ""
    assert text(before, "src/a.py") == "def pay(x):\n    return x\n"
    assert text(after, "src/a.py") == "def pay(x, y):\n    return x\n"
    assert before.find_words(["pay", "absent"]) == (
        Hit("b.py", 1, "pay(1)"),
        Hit("b.py", 3, "pay(3)"),
        Hit("src/a.py", 1, "def pay(x):"),
    )
    assert after.find_words(["absent"]) == ()
    assert after.find_words(["", " "]) == ()
    assert after.texts(["src", "absent.py", "", "../b.py", "/etc/passwd"]) == {}
    assert len(world.server.calls) == 5  # of each commit: what the server can do, and the objects


def test_words_on_very_many_lines_are_left_out(world: World) -> None:
    lines = "".join(
        f"the_same_long_name({number}) + rare_{number}\n" for number in range(1_000)
    ).encode()
    # 8 MB of output
    commit = world.origin.commit({f"{number}/{'x' * 100}.py": lines for number in range(50)})
    assert world.open(commit).find_words(["the_same_long_name", "rare_7", "absent"]) == tuple(
        Hit(f"{name}/{'x' * 100}.py", 8, "the_same_long_name(7) + rare_7")
        for name in sorted(map(str, range(50)))
    )
    commit = world.origin.commit({"a.py": b"often\n" * 501 + b"rare\n" * 500})
    assert len(world.open(commit).find_words(["often", "rare"])) == 1_001  # there is room for them


def test_rule_11_words_are_no_expressions_paths_or_options(world: World) -> None:
    files = {"a.py": b"a.b\naxb\n", "b.py": b"$cost\ncost\n", "c.py": b"net/http\n"}
    source = world.open(world.origin.commit(files))
    words = ["a.b", "$cost", "net/http", ".*", "--all", "-e", "x" * 201, "a|axb", "[a-z]"]
    assert [hit.text for hit in source.find_words(words)] == ["a.b", "$cost", "net/http"]


def test_a_line_of_a_megabyte_does_not_stop_the_search(world: World) -> None:
    commit = world.origin.commit({"bundle.js": b"e.value;" * 120_000, "shop.js": b"tax(1)\n"})
    words = ["value", "tax", *(f"absent_{number}" for number in range(38))]
    long, short = world.open(commit).find_words(words)
    assert (long.path, len(long.text)) == ("bundle.js", 400)
    assert short == Hit("shop.js", 1, "tax(1)")


def test_patches_since_another_commit_have_removed_lines_also_of_a_renamed_file(
    world: World,
) -> None:
    lines = [b"line %d\n" % number for number in range(30)]
    first = world.origin.commit(
        {"old name.py": b"".join(lines), "gone.py": b"check()\n", "caf\xe9.py": b"a\n", "b.py": b""}
    )
    without = b"".join([*lines[:20], *lines[21:]])
    last = world.origin.commit({"new name.py": without, "caf\xe9.py": b"", "b.py": b"-- \n++ \n"})
    paths = ["old name.py", "new name.py", "gone.py", "caf\xe9.py"]
    found = world.open(last).patches_since(first, paths) or {}
    assert [*found] == ["caf\xe9.py", "gone.py", "new name.py"]
    assert found["gone.py"] == "@@ -1 +0,0 @@\n-check()\n"
    context = "".join(f" line {number}\n" for number in (21, 22, 23))
    assert found["new name.py"].endswith(f" line 19\n-line 20\n{context}")


def test_commits_are_not_compared_if_one_is_unknown_or_a_file_is_over_2_mb(world: World) -> None:
    first = world.origin.commit({"a.py": b"a\n", "big.txt": b"word " * 500_000})
    last = world.origin.commit({"a.py": b"b\n", "big.txt": b"words " * 500_000})
    assert world.open(last).patches_since(first, ["a.py"]) == {"a.py": "@@ -1 +1 @@\n-a\n+b\n"}
    assert world.open(last).patches_since(first, ["a.py", "big.txt"]) is None
    assert world.open(last).patches_since("1" * 40, ["a.py"]) is None


def test_text_is_cleaned_and_redacted_before_it_is_cut(world: World) -> None:
    key = (
        b"-----BEGIN RSA PRIVATE KEY-----\n"
        + b"MIIEpAIBAAKCAQEA7\n" * 20
        + b"-----END RSA PRIVATE KEY-----\n"
    )
    commit = world.origin.commit({"a.py": b"a = 1\r\n" + key + b"b = 2\n"})
    found = text(world.open(commit), "a.py") or ""
    assert found == "a = 1\n" + "[redacted: private-key]\n" * 22 + "b = 2\n"


def test_commit_that_is_there_needs_no_request_and_the_next_one_transfers_only_what_changed(
    world: World,
) -> None:
    files = {f"{number}.txt": os.urandom(20_000) for number in range(10)}
    first, second = world.origin.commit(files), world.origin.commit({**files, "new.txt": b"new\n"})
    world.open(first)
    complete, requests = world.server.sent_bytes, len(world.server.calls)
    assert complete > 200_000
    assert text(world.open(first), "new.txt") is None
    assert len(world.server.calls) == requests
    assert text(world.open(second), "new.txt") == "new\n"
    assert world.server.sent_bytes - complete < 20_000


def test_large_and_binary_files_have_no_text_and_do_not_hide_the_others(world: World) -> None:
    commit = world.origin.commit(
        {"a.py": b"word\n", "b.bin": b"word\0\n", "c.txt": b"word " * 500_000, "d.py": b"word"}
    )
    source = world.open(commit)
    assert [text(source, path) for path in ("a.py", "b.bin", "c.txt", "d.py")] == [
        "word\n",
        None,
        None,
        "word",
    ]
    assert [line.path for line in source.find_words(["word"])] == ["a.py", "d.py"]
    assert source.no_mirror == ""
    assert world.server.sent_bytes < 100_000


def test_rule_11_links_and_submodules_are_not_followed_and_names_are_only_names(
    world: World,
) -> None:
    link = world.origin.blob(b"/etc/passwd")
    modules = b'[submodule "x"]\n\tpath = x\n\turl = https://example.com/x\n'
    names = [
        "--upload-pack=touch",
        "\x1b[31mred.py",
        'quo"te.py',
        "caf\xe9.py",
        " a b missing.py",
        ":(top)c.py",
    ]
    commit = world.origin.commit(
        {
            ".gitmodules": modules,
            ".gitattributes": b"*.py diff=x\n",
            **dict.fromkeys([*names, "new\nline.py"], b"word here\n"),
        },
        f"120000 blob {link}\tlink",
        f"160000 commit {'1' * 40}\tx",
    )
    source = world.open(commit)
    assert source.texts(["x", "new\nline.py", *names, "link"]) == {
        **dict.fromkeys(names, "word here\n"),
        "link": "/etc/passwd",
    }
    assert {(line.path, line.number) for line in source.find_words(["word", "root"])} == {
        (name, 1) for name in (*names, "new\nline.py")
    }
    assert len({call.partition("?")[0] for call in world.server.calls}) == 2  # o/r.git alone


def test_files_with_an_extension_are_listed_with_the_ids_of_their_contents(world: World) -> None:
    first, second = world.origin.blob(b"one\n"), world.origin.blob(b"two\n")
    names = [
        "docs/a.md",
        "READ.ME.MD",
        'quo"te.md',
        " b.rst",
        "new\nline.md",
        f"100644 blob {second}\tc.md",
    ]
    commit = world.origin.commit(
        {**dict.fromkeys([*names, "a.py", "amd", "a.md.txt"], b"one\n"), "same.md": b"two\n"},
        f"100755 blob {first}\trun.md",
        f"120000 blob {first}\tlink.md",
        f"160000 commit {'1' * 40}\tmodule.md",
        f"160000 commit {'1' * 40}\t100644 blob {second}\tz.md",
    )
    found = world.open(commit).list_files([".md", ".rst"])
    assert found == {**dict.fromkeys([*names, "run.md"], first), "same.md": second}
    assert world.open(commit).list_files([".go"]) == {}


def test_name_that_is_not_utf_8_is_listed_and_hides_no_other_file(world: World) -> None:
    blob = world.origin.blob(b"one\n")
    entries = b"".join(
        b"100644 blob %s\t%s\0" % (blob.encode(), name) for name in (b"caf\xe9.md", b"d.md")
    )
    tree = world.origin.git("mktree", "-z", stdin=entries)
    files = world.open(world.origin.git("commit-tree", "-m", "Name", tree))
    assert files.list_files([".md"]) == {"caf\ufffd.md": blob, "d.md": blob}
    assert files.texts(["caf\ufffd.md", "d.md"]) == {"d.md": "one\n"}


def test_names_may_be_longer_than_what_git_reads_at_once(world: World) -> None:
    source = world.open(world.origin.commit({"a.py": b"word\n"}))
    assert source.texts([*(f"{'x' * 4_000}{number}" for number in range(60)), "a.py"]) == {
        "a.py": "word\n"
    }


def test_rule_11_repository_with_dangerous_path_names_is_not_mirrored(world: World) -> None:
    inside = world.origin.tree({"passwd": b"root\n"})
    commit = world.origin.commit({}, f"040000 tree {inside}\t..")
    assert world.open(commit).no_mirror == UNEXPECTED
    assert world.mirrored() == []
    assert world.server.fetches == 1


def test_rule_11_tree_that_contains_itself_very_often_can_be_read(world: World) -> None:
    """A repository of 13 objects whose list would have 10**12 paths."""
    tree = world.origin.tree({"a.py": b"word\n"})
    for _ in range(12):
        tree = world.origin.tree({}, *(f"040000 tree {tree}\t{number}" for number in range(10)))
    source = world.open(world.origin.git("commit-tree", "-m", "Nest", tree))
    assert text(source, "7/" * 12 + "a.py") == "word\n"
    assert source.find_words(["word"]) == ()
    assert source.list_files([".py"]) == {}


def test_rule_11_hooks_and_configuration_of_the_machine_are_not_used(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = tmp_path / "proof"
    hook = f"#!/bin/sh\ntouch {proof}\n"
    (tmp_path / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {tmp_path}\n[url "file:///"]\n\tinsteadOf = http://\n'
    )
    for name, value in {
        "HOME": tmp_path,
        "GIT_DIR": tmp_path,
        "GIT_EXTERNAL_DIFF": tmp_path / "x",
    }.items():
        monkeypatch.setenv(name, str(value))
    first, second = world.commit_twice()
    world.open(first)
    (repository,) = world.settings.directory.glob("*/git")
    for folder in (repository / "hooks", tmp_path):
        folder.mkdir(exist_ok=True)
        for name in ("reference-transaction", "post-checkout", "pre-auto-gc", "x"):
            (folder / name).write_text(hook)
            (folder / name).chmod(0o755)
    assert text(world.open(second), "a") == "2\n"
    assert not proof.exists()


@pytest.mark.skipif(
    not Path("/proc/self").exists(),
    reason="only Linux shows the command lines of processes in files",
)
def test_rule_19_credential_is_in_no_command_line_and_no_file(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    commit = world.origin.commit({"a": b"1\n"})
    world.server.mode = "hang"
    world.change(timeout_s=2.0)
    seen: list[str] = []

    def look() -> None:
        assert world.server.hanging.wait(10)
        seen.extend(command_lines())
        world.server._released.set()

    thread = threading.Thread(target=look)
    thread.start()
    world.open(commit)
    thread.join()
    encoded = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    assert any("remote-http" in line for line in seen)
    assert not any(TOKEN in line or encoded in line for line in seen)
    world.server.mode = "serve"
    world.now = 4_000.0
    assert world.open(commit).no_mirror == ""
    for text in (TOKEN, encoded, "x-access-token"):
        assert text.encode() not in world.texts()
        assert text not in caplog.text
    (folder,) = world.settings.directory.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def use_git(folder: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """Let a script be `git`, which executes `before`, and then the real one."""
    program = folder / "bin/git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n{before}\nexec {find_git()} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_rule_19_git_that_crashes_writes_no_core_dump_with_the_credential(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    use_git(tmp_path, monkeypatch, f'echo "$1 $(ulimit -Sc) $(ulimit -Hc)" >> {seen}')
    files = world.open(world.origin.commit({"a": b"1\n"}))
    assert text(files, "a") == "1\n"
    assert {"init 0 0", "fetch 0 0", "cat-file 0 0"} == set(seen.read_text().splitlines())


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue


def test_rejected_credential_is_a_reason_and_leaves_an_existing_mirror(world: World) -> None:
    first, second = world.commit_twice()
    world.open(first)
    assert world.open(second, token="ghp_wrongwrongwrongwrongwrong").no_mirror == REJECTED
    requests = len(world.server.calls)
    assert text(world.open(first), "a") == "1\n"
    assert len(world.server.calls) == requests


@pytest.mark.parametrize(
    ("commit", "repository", "reason"),
    [
        ("1" * 40, "o/r", "GitHub does not have the commit, or does not give it to git"),
        ("1" * 40, "o/absent", REJECTED),
        ("--upload-pack=touch /tmp/x", "o/r", "the event names no commit"),
        ("main", "o/r", "the event names no commit"),
    ],
)
def test_unknown_commit_or_repository_is_a_reason(
    world: World, commit: str, repository: str, reason: str
) -> None:
    found = world.open(commit, repository=repository).no_mirror
    # git may see the end of the connection before it has read the server's message
    assert found == reason or (commit == "1" * 40 and found == UNREACHABLE)


def test_rule_11_redirect_is_not_followed(world: World, server: FakeServer) -> None:
    commit = world.origin.commit({"a": b"1\n"})
    world.server.mode, world.server.redirect_to = "redirect", server.url
    assert world.open(commit).no_mirror == "the git server redirects, which HLS does not follow"
    assert server.connections == 0


def test_git_uses_the_proxy_and_the_authorities_of_the_api(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = world.origin.commit({"a": b"1\n"})
    authority = Authority(tmp_path)
    upstream = world.server.base_url.removesuffix("/api/v3")
    certificate = authority.certificate_for("github.test")
    with (
        tls_server(certificate, {"github.test": upstream}) as github,
        Proxy(lambda: github.port, user="hls", password="pr0xy-passw0rd") as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://hls:pr0xy-passw0rd@{proxy.place}")
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        assert world.open(commit, base_url="https://github.test/api/v3").no_mirror == UNREACHABLE
        assert world.server.calls == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        world.now += 61
        source = world.open(commit, base_url="https://github.test/api/v3")
        assert source.no_mirror == ""
        assert text(source, "a") == "1\n"
        assert set(proxy.asked) == {"github.test:443"}
    assert b"pr0xy-passw0rd" not in world.texts()


def test_rule_11_git_connects_over_http_to_loopback_only(world: World) -> None:
    mirror = world.mirrors.of("http://192.0.2.1/api/v3", "o/r", lambda: TOKEN)
    source = CommitFiles(
        mirror,
        GithubApi(github_settings(world.server.base_url, TOKEN), now=lambda: NOON).of("o/r"),
        "1" * 40,
    )
    assert source.no_mirror == UNEXPECTED  # without a connection: "transport 'http' not allowed"


def test_slow_repository_is_given_up_at_the_time_limit_and_not_fetched_again_for_an_hour(
    world: World,
) -> None:
    commit = world.commit_large()
    world.server.mode = "slow"
    world.change(timeout_s=4.0)
    reason = "fetching the repository took longer than mirror.timeout_s (4)"
    assert world.open(commit).no_mirror == reason
    assert not any(
        "remote-http" in line and world.server.base_url[:-7] in line for line in command_lines()
    )
    world.server.mode = "serve"
    world.now = 3_599.0
    assert world.open(commit).no_mirror == reason
    assert world.server.fetches == 1
    assert world.reports == []  # the server answers
    world.now, world.settings = 3_601.0, world.settings.model_copy(update={"timeout_s": 60.0})
    assert world.open(commit).no_mirror == ""


@pytest.mark.parametrize("lie", ["another commit", "cut", "wrong bytes", "endless messages"])
def test_lying_server_is_a_reason_and_leaves_no_mirror(world: World, lie: str) -> None:
    commit, other = (world.origin.commit({"a": os.urandom(500)}) for _ in range(2))
    if lie == "another commit":
        world.server.change_request = lambda body: body.replace(commit.encode(), other.encode())
    elif lie == "cut":
        world.server.change_response = lambda body: (
            body[: len(body) // 2] if b"PACK" in body else body
        )
    elif lie == "wrong bytes":
        world.server.change_response = lambda body: body.replace(b"PACK\0\0\0\2", b"PACK\0\0\0\3")
    else:
        message = b"0fff\2" + b"x" * (0xFFF - 6) + b"\n"
        world.server.change_response = lambda body: body.replace(
            b"packfile\n", b"packfile\n" + message * 2_000
        )
    assert world.open(commit).no_mirror in (UNEXPECTED, UNREACHABLE)
    assert world.mirrored() == []
    world.server.change_request = world.server.change_response = bytes
    world.now = 3_601.0
    assert world.open(commit).no_mirror == ""


def test_failed_fetch_is_tried_again_after_a_minute_and_other_commits_before(world: World) -> None:
    commit, other = world.commit_twice()
    world.server.change_response = lambda body: body.replace(b"PACK\0\0\0\2", b"PACK\0\0\0\3")
    assert world.open(commit).no_mirror == UNEXPECTED
    world.server.change_response = bytes
    requests = len(world.server.calls)
    world.now = 59.0
    assert world.open(commit).no_mirror == UNEXPECTED
    assert len(world.server.calls) == requests
    assert text(world.open(other), "a") == "2\n"
    world.now = 61.0
    assert text(world.open(commit), "a") == "1\n"


def pack_without_its_end(body: bytes) -> bytes:
    """Return the response with the beginning of its pack, in lines that are complete."""
    begin = body.index(b"PACK")
    return b"000dpackfile\n%04x\1" % 1_005 + body[begin : begin + 1_000] + b"0000"


TRUNCATED: dict[str, Callable[[bytes], bytes]] = {
    "no response": lambda _: b"",
    "first response": lambda body: body[:77],
    "before the pack": lambda body: body[:17] if b"PACK" in body else body,
    "no pack": lambda body: b"0000" if b"PACK" in body else body,
    "header of the pack": lambda body: body[: body.index(b"PACK") + 6] if b"PACK" in body else body,
    "half of the pack": lambda body: body[: len(body) // 2] if b"PACK" in body else body,
    "last bytes": lambda body: body[:-6] if b"PACK" in body else body,
    "pack in complete lines": lambda body: pack_without_its_end(body) if b"PACK" in body else body,
}


@pytest.mark.parametrize(
    ("truncate", "has_mirror"),
    [
        *(pytest.param(truncate, True, id=name) for name, truncate in TRUNCATED.items()),
        pytest.param(TRUNCATED["half of the pack"], False, id="no mirror"),
    ],
)
def test_truncated_response_is_fetched_again_at_once(
    world: World, truncate: Callable[[bytes], bytes], has_mirror: bool
) -> None:
    if has_mirror:
        assert world.open(world.origin.commit({"b": b"2\n"})).no_mirror == ""
    commit = world.origin.commit({"a": os.urandom(30_000)})

    def once(body: bytes) -> bytes:
        changed = truncate(body)
        if changed != body:
            world.server.change_response = bytes
        return changed

    world.server.change_response = once
    assert world.open(commit).no_mirror == ""
    assert world.server.change_response is bytes


def remove_all(folder: Path) -> None:
    shutil.rmtree(folder)


def remove_packs(folder: Path) -> None:
    for pack in folder.glob("*/git/objects/pack/*"):
        pack.unlink()


def damage_packs(folder: Path) -> None:
    for pack in folder.glob("*/git/objects/pack/*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(b"\0" * pack.stat().st_size)


def remove_head(folder: Path) -> None:
    for head in folder.glob("*/git/read/HEAD"):
        head.unlink()


@pytest.mark.parametrize("damage", [remove_all, remove_packs, damage_packs, remove_head])
def test_deleted_or_damaged_mirror_is_fetched_anew(
    world: World, damage: Callable[[Path], None]
) -> None:
    first, second = world.origin.commit({"a": b"one\n"}), world.origin.commit({"a": b"two\n"})
    source = world.open(first)
    damage(world.settings.directory)
    assert (text(source, "a"), source.no_mirror) == ("one\n", "")
    damage(world.settings.directory)
    assert text(world.open(first), "a") == "one\n"
    damage(world.settings.directory)
    assert text(world.open(second), "a") == "two\n"


def test_mirror_that_cannot_be_fetched_anew_is_a_reason_and_files_come_from_the_api(
    world: World, server: FakeServer
) -> None:
    blob = {"text": "by the API\n", "byteSize": 11, "isTruncated": False}
    server.says = [
        Say(404, {"message": "Not Found"}),
        Say(200, {"data": {"repository": {"f0": blob}}}),
    ]
    api = GithubApi(github_settings(server.url, TOKEN), now=lambda: NOON, timeout_s=5.0)
    with closing(api):
        files = GithubReader(
            api.of("o/r"), RepositoryLabels(lambda: 0.0), mirrors=world.mirrors
        ).files_at("1" * 40)
        assert files.no_mirror == REJECTED
        assert files.texts(["a.py"]) == {"a.py": "by the API\n"}
    assert files.find_words(["API"]) == ()
    assert files.list_files([".py"]) == {}
    assert server.calls[-1] == "POST /graphql"


def test_mirror_is_off_without_git_or_by_the_settings(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = world.origin.commit({"a": b"1\n"})
    monkeypatch.setenv("PATH", "/nonexistent")
    assert world.open(commit).no_mirror == "git is not installed"
    world.change(enabled=False)
    assert world.open(commit).no_mirror == "mirror.enabled is false"
    assert not world.settings.directory.exists()


def test_folder_that_cannot_be_written_is_a_reason(world: World) -> None:
    commit = world.origin.commit({"a": b"1\n"})
    file = world.folder / "served/o/r.git/HEAD"
    world.change(directory=file / "mirror")
    assert world.open(commit).no_mirror == "mirror.directory cannot be used: Not a directory"
    world.change(directory=file)
    assert world.open(commit).no_mirror == "mirror.directory cannot be used: File exists"


def test_full_disk_is_a_reason_and_leaves_an_existing_mirror(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = world.commit_twice()
    world.open(first)
    fails = 'echo "fatal: write error: No space left on device" >&2; exit 128'
    use_git(tmp_path, monkeypatch, f'[ "$1" = fetch ] && {{ {fails}; }}')
    assert world.open(second).no_mirror == FULL
    assert text(world.open(first), "a") == "1\n"


@pytest.fixture
def three(world: World) -> dict[str, str]:
    """Make three repositories of 600 kB, of which "old" and "new" have mirrors. Return their
    commits.
    """
    commits: dict[str, str] = {}
    for name in ("old", "new", "third"):
        origin = Origin(world.folder / f"served/o/{name}.git")
        commits[name] = origin.commit({"a": os.urandom(600_000)})
        if name != "third":
            assert world.find_reason(name, commits[name]) == ""
            for lock in world.settings.directory.glob(f"{name}-*/lock"):
                os.utime(lock, (1_000, 1_000) if name == "old" else (2_000, 2_000))
    return commits


def test_mirror_that_was_not_used_for_longest_is_deleted_if_the_disk_has_too_little_room(
    world: World, three: dict[str, str]
) -> None:
    world.change(min_free_mb=1)
    world.disk_bytes = 2_100_000
    assert world.find_reason("third", three["third"]) == ""
    assert world.mirrored() == ["third"]  # "old" before the fetch, "new" after it
    assert world.disk_bytes - world.mirror_bytes() > 1_000_000


def test_nothing_is_fetched_below_the_room_that_stays_free(
    world: World, three: dict[str, str]
) -> None:
    world.disk_bytes = 12_000_000
    reason = "less than mirror.min_free_mb (1000) is free on the disk of mirror.directory"
    fetches = world.server.fetches
    assert world.find_reason("new", three["new"]) == ""  # it is there
    assert world.find_reason("third", three["third"]) == reason
    assert world.server.fetches == fetches
    assert world.mirrored() == []
    world.disk_bytes = 10**12
    assert world.find_reason("third", three["third"]) == ""


def test_fetch_ends_when_it_uses_the_room_that_stays_free(
    world: World, three: dict[str, str]
) -> None:
    large = world.commit_large()
    world.change(min_free_mb=1)
    world.disk_bytes = 3_300_000
    world.server.mode = "slow"
    reason = "less than mirror.min_free_mb (1) is free on the disk of mirror.directory"
    assert world.open(large).no_mirror == reason
    assert world.mirrored() == ["new"]
    assert list(world.settings.directory.glob("*/new")) == []
    world.server.mode = "serve"
    world.disk_bytes = 10**12
    assert world.find_reason("third", three["third"]) == FULL  # for two minutes
    world.now = 121.0
    assert world.find_reason("third", three["third"]) == ""


def test_fetch_that_ends_for_lack_of_room_says_so_also_if_others_have_made_room_since(
    world: World,
) -> None:
    large = world.commit_large()
    world.server.mode = "slow"
    world.other_bytes = iter([0, 0, 10**12])
    reason = "less than mirror.min_free_mb (1000) is free on the disk of mirror.directory"
    assert world.open(large).no_mirror == reason
    assert world.reports == []


def test_full_disk_deletes_a_mirror_and_is_remembered(
    world: World, three: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = 'echo "fatal: write error: Disk quota exceeded" >&2; exit 128'
    use_git(tmp_path, monkeypatch, f'[ "$1" = fetch ] && {{ {fails}; }}')
    assert world.find_reason("third", three["third"]) == FULL
    assert world.mirrored() == ["new"]
    monkeypatch.undo()
    world.now = 119.0
    fetches = world.server.fetches
    assert world.find_reason("old", three["old"]) == FULL
    assert world.find_reason("new", three["new"]) == ""
    assert world.server.fetches == fetches
    world.now = 121.0
    assert world.find_reason("third", three["third"]) == ""


def test_commit_over_the_limit_is_stopped_while_it_is_fetched_and_refused_for_an_hour_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    small, next_one = world.commit_twice()
    large = world.origin.commit({f"{number}.txt": os.urandom(900_000) for number in range(4)})
    world.change(max_mb=1)
    assert world.open(small).no_mirror == ""
    reason = "the repository is larger than mirror.max_mb (1)"
    assert world.open(large).no_mirror == reason
    # and no signal, which dumps core
    assert "write error: File too large" in vars(caplog.records[0])["error"]
    requests = len(world.server.calls)
    assert world.open(large).no_mirror == reason
    assert text(world.open(small), "a") == "1\n"
    assert len(world.server.calls) == requests
    assert text(world.open(next_one), "a") == "2\n"
    assert sum(path.stat().st_size for path in world.settings.directory.rglob("*")) < 1_000_000


@pytest.mark.parametrize("new_files", [3, 12], ids=["less than the limit is new", "more is new"])
def test_commit_over_the_limit_is_downloaded_once(world: World, new_files: int) -> None:
    files = {f"{number}.txt": os.urandom(100_000) for number in range(8)}
    small = world.origin.commit(files)
    new = {f"new-{number}.txt": os.urandom(100_000) for number in range(new_files)}
    large = world.origin.commit({**files, **new})
    world.change(max_mb=1)
    assert world.open(small).no_mirror == ""
    fetches = world.server.fetches
    assert world.open(large).no_mirror == "the repository is larger than mirror.max_mb (1)"
    assert world.server.fetches == fetches + 1
    assert world.open(small).no_mirror == ""
    assert world.server.fetches == fetches + 1
    assert sum(path.stat().st_size for path in world.settings.directory.rglob("*")) < 1_000_000


def test_commits_that_are_too_large_together_are_replaced_by_the_last_one(world: World) -> None:
    first, second = (world.origin.commit({"a.txt": os.urandom(600_000)}) for _ in range(2))
    world.change(max_mb=1)
    assert [world.open(commit).no_mirror for commit in (first, second)] == ["", ""]
    (repository,) = world.settings.directory.glob("*/git")
    assert [commit.name for commit in (repository / "refs/hls").iterdir()] == [second]


def test_mirror_that_was_not_used_for_longest_is_deleted_at_the_limit(world: World) -> None:
    world.mirrors.disk = MirrorDisk(
        lambda: world.settings,
        clock=lambda: world.now,
        free_bytes=lambda _: 10**12,
        total_bytes=1_500_000,
    )
    for name in ("old", "new", "third"):
        origin = Origin(world.folder / f"served/o/{name}.git")
        commit = origin.commit({"a": os.urandom(600_000)})
        assert world.find_reason(name, commit) == ""
        for lock in world.settings.directory.glob(f"{name}-*/lock"):
            os.utime(lock, (1_000, 1_000) if name == "old" else (2_000, 2_000))
    assert world.mirrored() == ["new", "third"]


def test_threads_that_want_the_same_commit_fetch_it_once(world: World) -> None:
    commit = world.origin.commit({"a": b"1\n"})
    world.mirrors = Mirrors(lambda: world.settings)
    sources: list[CommitFiles] = []
    threads = [
        threading.Thread(target=lambda: sources.append(world.open(commit))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [source.no_mirror for source in sources] == [""] * 4
    assert len(world.server.calls) == 2


def test_mirror_with_a_hundred_commits_is_fetched_anew(world: World) -> None:
    first, last, next_one = (
        world.origin.commit({"a": f"{number}\n".encode()}) for number in range(3)
    )
    world.open(first)
    (refs,) = world.settings.directory.glob("*/git/refs/hls")
    for number in range(98):
        shutil.copy(refs / first, refs / f"{number:040}")
    assert text(world.open(last), "a") == "1\n"
    assert len(list(refs.iterdir())) == 100
    assert text(world.open(next_one), "a") == "2\n"
    assert [ref.name for ref in refs.iterdir()] == [next_one]


def lines(*texts: str) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def pick(world: World, base: str, change: str, onto: str) -> Pick:
    found = world.open(change).cherry_pick(base, onto)
    assert found is not None
    return found


def test_change_is_merged_into_another_commit_without_the_history_between_them(
    world: World,
) -> None:
    base = world.origin.commit({"a.py": lines(*"123456789"), "b.py": b"b\n"})
    changed = world.origin.tree({"a.py": lines(*"12345678", "nine"), "b.py": b"b\n"})
    commit = world.origin.git("commit-tree", "-m", "Change", "-p", base, changed)
    onto = world.origin.commit({"a.py": lines("one", *"23456789"), "b.py": b"B\n"})
    applied = world.origin.commit({"a.py": lines("one", *"2345678", "nine")})
    files = world.open(commit)
    assert files.parents() == (base,)
    assert files.cherry_pick(base, onto) == Pick(is_empty=False, conflicts=())
    assert files.cherry_pick(base, applied) == Pick(is_empty=True, conflicts=())
    assert world.mirrored() == ["r"]
    assert list(world.settings.directory.glob("*/pick")) == []


def test_conflicts_have_the_parts_of_the_merged_file(world: World) -> None:
    base = world.origin.commit(
        {"a.py": lines(*"123456789"), "gone.py": b"old\n", "new\nline.py": b"1\n"}
    )
    commit = world.origin.commit(
        {"a.py": lines(*"12", "3c", *"456789"), "gone.py": b"new\n", "new\nline.py": b"2\n"}
    )
    onto = world.origin.commit(
        {"a.py": lines(*"12", "3b", *"45678", "nine"), "new\nline.py": b"3\n"}
    )
    conflict = "<<<<<<< branch\n3b\n=======\n3c\n>>>>>>> change\n"
    assert pick(world, base, commit, onto) == Pick(
        is_empty=False,
        conflicts=(
            PickConflict(
                "a.py",
                "1\n2\n3b\n4\n5\n6\n7\n8\nnine\n",
                ("1\n2\n", conflict, "4\n5\n6\n7\n8\nnine\n"),
            ),
            PickConflict("gone.py", "", ("new\n",)),
            PickConflict("new\nline.py", "", ("",)),
        ),
    )


@pytest.mark.parametrize(
    ("base", "change", "onto", "parts"),
    [
        (
            b"1\n",
            b"<<<<<<< x\n=======\n>>>>>>> y",
            b"2\n",
            ("", "<<<<<<< branch\n2\n=======\n<<<<<<< x\n=======\n>>>>>>> y\n>>>>>>> change\n", ""),
        ),
        (
            b"1\r\n2\r\n",
            b"1\r\n3\r\n",
            b"1\r\n4\r\n",
            ("1\r\n", "<<<<<<< branch\r\n4\r\n=======\r\n3\r\n>>>>>>> change\r\n", ""),
        ),
    ],
    ids=["line that looks like a mark", "crlf"],
)
def test_conflict_contains_all_its_lines(
    world: World, base: bytes, change: bytes, onto: bytes, parts: tuple[str, ...]
) -> None:
    found = pick(world, *(world.origin.commit({"a": content}) for content in (base, change, onto)))
    assert [one.parts for one in found.conflicts] == [parts]


def test_rule_11_merge_starts_no_program_that_the_repository_names(
    world: World, tmp_path: Path
) -> None:
    attributes = b"* merge=evil filter=evil diff=evil\n"
    base = world.origin.commit({"a": b"1\n", ".gitattributes": attributes})
    commit = world.origin.commit({"a": b"2\n", ".gitattributes": attributes})
    onto = world.origin.commit({"a": b"3\n", ".gitattributes": attributes})
    ran = tmp_path / "ran"
    for key in (
        "merge.evil.driver",
        "filter.evil.clean",
        "filter.evil.smudge",
        "diff.evil.command",
    ):
        world.origin.git("config", key, f"touch {ran}")
    assert [one.path for one in pick(world, base, commit, onto).conflicts] == ["a"]
    assert not ran.exists()


def test_merge_of_a_file_that_is_too_large_to_be_fetched_is_impossible(world: World) -> None:
    large = b"x\n" * 1_200_000
    base, commit = world.origin.commit({"a": large}), world.origin.commit({"a": large + b"y\n"})
    files = world.open(commit)
    assert files.cherry_pick(base, world.origin.commit({"a": b"z\n" + large})) is None
    assert files.no_mirror == UNMERGEABLE


def test_objects_of_a_merge_that_was_killed_are_deleted(world: World) -> None:
    base = world.origin.commit({"a": b"1\n"})
    files = world.open(base)
    (git,) = world.settings.directory.glob("*/git")
    (git.parent / "pick").mkdir()
    (git.parent / "pick/left").touch()
    assert files.cherry_pick(base, base) == Pick(is_empty=True, conflicts=())
    assert not (git.parent / "pick").exists()


def test_branch_does_not_have_a_change_that_conflicts_without_lines(world: World) -> None:
    base = world.origin.commit({"a": b"1\n", "b": b"\0001"})
    commit, onto = (
        world.origin.commit({"b": b"\0002"}),
        world.origin.commit({"a": b"2\n", "b": b"\0003"}),
    )
    found = pick(world, base, commit, onto)
    assert (found.is_empty, [one.path for one in found.conflicts]) == (False, ["a", "b"])


def test_branch_has_a_file_with_conflicts_under_its_old_name(world: World) -> None:
    base = world.origin.commit({"old.py": lines(*"123456789")})
    commit = world.origin.commit({"new.py": lines(*"1234", "5c", *"6789")})
    onto = world.origin.commit({"old.py": lines(*"1234", "5b", *"6789")})
    (conflict,) = pick(world, base, commit, onto).conflicts
    assert (conflict.path, conflict.ours) == ("new.py", "1\n2\n3\n4\n5b\n6\n7\n8\n9\n")


def test_name_that_git_gives_a_file_beside_a_link_says_which_side_has_it(world: World) -> None:
    link = f"120000 blob {world.origin.blob(b'/etc/passwd')}\tshop"
    base, commit = world.origin.commit({"shop": b"1\n"}), world.origin.commit({}, link)
    found = pick(world, base, commit, world.origin.commit({"shop": b"2\n"}))
    assert [(one.path, one.parts) for one in found.conflicts] == [
        ("shop", ("/etc/passwd",)),
        ("shop~branch", ("2\n",)),
    ]


def test_mirror_that_was_deleted_before_a_merge_is_fetched_anew(world: World) -> None:
    base = world.origin.commit({"a": b"1\n"})
    files = world.open(base)
    remove_all(world.settings.directory)
    assert files.cherry_pick(base, base) == Pick(is_empty=True, conflicts=())


def test_objects_of_a_merge_that_another_process_computes_stay(world: World) -> None:
    base = world.origin.commit({"a": b"1\n"})
    files = world.open(base)
    assert files.cherry_pick(base, base) == Pick(is_empty=True, conflicts=())
    (lock,) = world.settings.directory.glob("*/lock")
    (lock.parent / "pick").mkdir()

    def wait(seconds: float) -> None:
        world.now += 1_000 * seconds

    world.wait = wait
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert files.cherry_pick(base, base) is None
    assert files.no_mirror == "another fetch of the repository takes too long"
    assert (lock.parent / "pick").exists()
