"""Settings files of repositories, as they were read last, and who tells of their problems."""

from __future__ import annotations

import pytest

from hls_handler.errors import LeaseLost
from hls_handler.history.repositories import KnownFile
from hls_handler.storage import Storage
from tests.queue.builders import Skew, begin

GOOD = KnownFile("c0ffee", "enabled: true\n", good_version="c0ffee", good_text="enabled: true\n")
GONE = KnownFile(version=None, text=None)


def test_a_file_is_known_as_it_was_read_last_and_since_when(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    assert store.repository_files.find(1, "hls") is None
    store.repository_files.save(lease, 1, "Octo/Hello", "hls", GOOD)
    skew.pass_by(seconds=20)
    known = store.repository_files.find(1, "hls")
    assert known is not None
    assert (known.version, known.good_text, known.flaw) == ("c0ffee", "enabled: true\n", None)
    assert 19 < known.age_s < 25
    store.repository_files.save(lease, 1, "Octo/Hello", "hls", GONE)
    gone = store.repository_files.find(1, "hls")
    assert gone is not None
    assert (gone.version, gone.text, gone.good_text) == (None, None, None)
    assert gone.age_s < 5


def test_a_file_is_known_by_repository_and_account(store: Storage) -> None:
    store.repository_files.save(begin(store, "g1"), 1, "octo/hello", "hls", GOOD)
    assert store.repository_files.find(2, "hls") is None
    assert store.repository_files.find(1, "another") is None


def test_a_command_finds_it_by_name_whatever_its_case_and_after_a_rename_by_the_new_one(store: Storage) -> None:
    lease = begin(store, "g1")
    store.repository_files.save(lease, 1, "Octo/Hello", "hls", GOOD)
    assert (store.repository_files.find_by_name("octo/HELLO") or GONE).version == "c0ffee"
    store.repository_files.save(lease, 1, "octo/renamed", "hls", GOOD)
    assert store.repository_files.find_by_name("octo/hello") is None
    assert (store.repository_files.find_by_name("octo/renamed") or GONE).version == "c0ffee"


def test_of_one_version_one_delivery_tells_and_it_may_try_again(store: Storage) -> None:
    first, second = begin(store, "g1", number=1), begin(store, "g2", number=2)
    assert store.repository_files.claim_report(first, 1, "hls", "bad")
    assert not store.repository_files.claim_report(second, 1, "hls", "bad")
    assert store.repository_files.claim_report(first, 1, "hls", "bad")
    assert store.repository_files.claim_report(second, 1, "hls", "worse")
    assert store.repository_files.claim_report(second, 2, "hls", "bad")


def test_a_worker_that_lost_its_lease_keeps_and_tells_nothing(store: Storage, skew: Skew) -> None:
    zombie = begin(store, "g1")
    skew.pass_by(minutes=1)
    with pytest.raises(LeaseLost):
        store.repository_files.save(zombie, 1, "octo/hello", "hls", GOOD)
    with pytest.raises(LeaseLost):
        store.repository_files.claim_report(zombie, 1, "hls", "bad")
    assert store.repository_files.find(1, "hls") is None
