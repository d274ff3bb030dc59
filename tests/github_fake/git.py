"""Mirrors of the stand-in GitHub, into which tests write commits: git reads them, and fetches
nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping
from functools import cache
from hashlib import sha1
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from hls_handler.git.host import MirrorUnavailable
from hls_handler.git.mirror import Mirror, Mirrors
from hls_handler.settings.model import MirrorSettings
from hls_handler.settings.values import web_url

AUTHOR = "Monalisa Octocat <octocat@example.com> 1795176000 +0000"


@cache
def _folder() -> TemporaryDirectory[str]:
    """Return the folder of all mirrors of this process."""
    return TemporaryDirectory(prefix="hls-mirrors-")


class LocalMirror(Mirror):
    """A mirror whose reads of files are recorded."""

    def __init__(self, mirrors: LocalMirrors, url: str, token: Callable[[], str]) -> None:
        super().__init__(mirrors, url, token)
        self._local = mirrors

    def list_files(self, commit: str, extensions: Collection[str]) -> Mapping[str, str]:
        self._local.note(f"list {commit}")
        return super().list_files(commit, extensions)

    def files(self, commit: str, paths: Collection[str]) -> Mapping[str, bytes]:
        self._local.note(f"read {' '.join(paths)}")
        return super().files(commit, paths)


class LocalMirrors(Mirrors):
    def __init__(self, base_url: str) -> None:
        """`base_url` is that of GitHub's API."""
        self._base_url = base_url
        self._directory: Path | None = None
        self.is_enabled = True
        self.reads: list[str] = []  # "list COMMIT" and "read a.py b.py"
        self.on_read: Callable[[str], None] = lambda _read: None  # may raise
        super().__init__(self._find_settings)

    def _find_settings(self) -> MirrorSettings:
        if self._directory is None:
            self._directory = Path(mkdtemp(dir=_folder().name))
        return MirrorSettings(directory=self._directory, enabled=self.is_enabled)

    def check_failed(self, folder: Path, commits: Collection[str]) -> None:
        raise MirrorUnavailable("the test has no such commit")

    def of(self, base_url: str, repository: str, token: Callable[[], str]) -> Mirror:
        return LocalMirror(self, f"{web_url(base_url)}/{repository}.git", token)

    def note(self, read: str) -> None:
        self.reads.append(read)
        self.on_read(read)

    def folder(self, repository: str) -> Path:
        """Return the git repository of the mirror."""
        return self.of(self._base_url, repository, str)._git

    def commit(
        self,
        repository: str,
        files: Mapping[str, str | bytes],
        name: str = "",
        *,
        parent: str = "",
    ) -> str:
        """Store a commit with exactly these files and return its id: that of git, or `name`, 40 hex
        digits that git reads as the commit.
        """
        git = self.folder(repository)
        read = git / "read"
        for folder in (git, read):
            if not folder.exists():
                (folder / "objects").mkdir(parents=True)
                (folder / "refs" / "hls").mkdir(parents=True)
                (folder / "refs" / "replace").mkdir()
                (folder / "HEAD").write_text("ref: refs/heads/main\n")
        contents = {
            path: text.encode() if isinstance(text, str) else text for path, text in files.items()
        }
        header = f"tree {_store_tree(git, contents)}\n"
        if parent:
            header += f"parent {parent}\n"
        content = f"{header}author {AUTHOR}\ncommitter {AUTHOR}\n\nChange files\n"
        commit = _store(git, b"commit", content.encode())
        if name:
            (read / "refs" / "replace" / name).write_text(f"{commit}\n")
        (git / "refs" / "hls" / (name or commit)).write_text(f"{commit}\n")
        return name or commit


def _store_tree(git: Path, files: Mapping[str, bytes]) -> str:
    entries: dict[bytes, bytes] = {}
    folders: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        name, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(name, {})[rest] = content
        else:
            blob = _store(git, b"blob", content)
            entries[name.encode()] = b"100644 %b\0%b" % (name.encode(), bytes.fromhex(blob))
    for name, inside in folders.items():
        tree = _store_tree(git, inside)
        # git sorts a folder as if its name ended with a slash
        entries[f"{name}/".encode()] = b"40000 %b\0%b" % (name.encode(), bytes.fromhex(tree))
    return _store(git, b"tree", b"".join(entries[name] for name in sorted(entries)))


def _store(git: Path, kind: bytes, content: bytes) -> str:
    """Store an object as git does, and return its id."""
    data = b"%b %d\0%b" % (kind, len(content), content)
    name = sha1(data).hexdigest()
    file = git / "objects" / name[:2] / name[2:]
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(zlib.compress(data, 1))
    return name
