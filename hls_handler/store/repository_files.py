"""The settings file of a repository as it was read last, and the last one of it that was without problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Select, bindparam, func, select

from hls_handler.deliveries import Lease
from hls_handler.store.part import Part
from hls_handler.store.tables import repository_file_tellings, repository_files

_f, _t = repository_files.c, repository_file_tellings.c


@dataclass(frozen=True, slots=True)
class KnownFile:
    version: str | None  # the blob's SHA, or what stands there in place of a file; None: nothing does
    text: str | None  # None where there is none to read
    flaw: str | None = None  # why, though something stands there
    good_version: str | None = None  # of the last one without problems
    good_text: str | None = None
    age_s: float = 0.0  # since it was read


class KeepingFiles(Part):
    """One file for each repository, as one identity (our login) sees it."""

    def known_file(self, repository_id: int, identity: str) -> KnownFile | None:
        """None where nobody looked yet."""
        return self._known(self._as_seen_by_us, {"of_repository": repository_id, "of_identity": identity})

    def known_file_of(self, repository: str) -> KnownFile | None:
        """By name, whatever its case, as whoever looked last saw it: for commands, which know neither id nor login."""
        return self._known(self._as_seen_last, {"of_name": repository.lower()})

    def _known(self, question: Select[Any], terms: Mapping[str, object]) -> KnownFile | None:
        with self._database.reading() as connection:
            row = connection.execute(question, terms).first()
        return None if row is None else _file(row)

    @cached_property
    def _as_seen_by_us(self) -> Select[Any]:
        mine = (_f.repository_id == bindparam("of_repository"), _f.identity == bindparam("of_identity"))
        return self._newest.where(*mine)

    @cached_property
    def _as_seen_last(self) -> Select[Any]:
        return self._newest.where(func.lower(_f.repository) == bindparam("of_name"))

    @property
    def _newest(self) -> Select[Any]:
        age_ms = (self._database.now - _f.read_at).label("age_ms")
        return select(repository_files, age_ms).order_by(_f.read_at.desc()).limit(1)

    def keep_file(self, lease: Lease, repository_id: int, repository: str, identity: str, file: KnownFile) -> None:
        """What was read just now. Raises `LeaseLost`."""
        kept = {
            "repository": repository,
            "read_at": self._database.now,
            "version": file.version,
            "text": file.text,
            "flaw": file.flaw,
            "good_version": file.good_version,
            "good_text": file.good_text,
        }
        new = self._database.insert(repository_files).values(repository_id=repository_id, identity=identity, **kept)
        with self._database.writing() as connection:
            self._fenced(connection, lease)
            connection.execute(new.on_conflict_do_update(index_elements=["repository_id", "identity"], set_=kept))

    def may_tell(self, lease: Lease, repository_id: int, identity: str, version: str) -> bool:
        """Whether this delivery is the one that tells of a version's problems: the first that asked, and no other.

        Raises `LeaseLost`.
        """
        claim = self._database.insert(repository_file_tellings).values(
            repository_id=repository_id,
            identity=identity,
            version=version,
            guid=lease.guid,
            told_at=self._database.now,
        )
        teller = select(_t.guid).where(
            _t.repository_id == repository_id, _t.identity == identity, _t.version == version
        )
        with self._database.writing() as connection:
            self._fenced(connection, lease)
            connection.execute(claim.on_conflict_do_nothing())
            return bool(connection.execute(teller).scalar_one() == lease.guid)


def _file(row: Any) -> KnownFile:
    return KnownFile(
        row.version,
        row.text,
        row.flaw,
        row.good_version,
        row.good_text,
        age_s=max(row.age_ms / 1000, 0.0),
    )
