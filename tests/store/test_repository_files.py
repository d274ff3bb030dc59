"""Stored settings files of repositories, and the delivery that reports their problems."""

from __future__ import annotations

import pytest

from hls_handler.errors import LeaseLost
from hls_handler.storage import Storage
from hls_handler.store.repositories import StoredFile
from tests.queue.builders import Skew, begin

GOOD = StoredFile("c0ffee", "enabled: true\n", valid_version="c0ffee", valid_text="enabled: true\n")
MISSING = StoredFile(version=None, text=None)


def test_file_is_stored_with_its_version_and_age(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    assert store.repository_files.find(1, "hls") is None
    store.repository_files.save(lease, 1, "Octo/Hello", "hls", GOOD)
    skew.advance(seconds=20)
    stored = store.repository_files.find(1, "hls")
    assert stored is not None
    assert (stored.version, stored.valid_text, stored.error) == ("c0ffee", "enabled: true\n", None)
    assert 19 < stored.age_s < 25
    store.repository_files.save(lease, 1, "Octo/Hello", "hls", MISSING)
    missing = store.repository_files.find(1, "hls")
    assert missing is not None
    assert (missing.version, missing.text, missing.valid_text) == (None, None, None)
    assert missing.age_s < 5


def test_file_is_separate_by_repository_and_account(store: Storage) -> None:
    store.repository_files.save(begin(store, "g1"), 1, "octo/hello", "hls", GOOD)
    assert store.repository_files.find(2, "hls") is None
    assert store.repository_files.find(1, "another") is None


def test_find_by_name_ignores_case_and_follows_a_rename(store: Storage) -> None:
    lease = begin(store, "g1")
    store.repository_files.save(lease, 1, "Octo/Hello", "hls", GOOD)
    assert (store.repository_files.find_by_name("octo/HELLO") or MISSING).version == "c0ffee"
    store.repository_files.save(lease, 1, "octo/renamed", "hls", GOOD)
    assert store.repository_files.find_by_name("octo/hello") is None
    assert (store.repository_files.find_by_name("octo/renamed") or MISSING).version == "c0ffee"


def test_report_of_a_version_is_claimed_by_one_delivery(store: Storage) -> None:
    first, second = begin(store, "g1", number=1), begin(store, "g2", number=2)
    assert store.repository_files.claim_report(first, 1, "hls", "bad")
    assert not store.repository_files.claim_report(second, 1, "hls", "bad")
    assert store.repository_files.claim_report(first, 1, "hls", "bad")
    assert store.repository_files.claim_report(second, 1, "hls", "worse")
    assert store.repository_files.claim_report(second, 2, "hls", "bad")


def test_worker_with_a_lost_lease_saves_and_claims_nothing(store: Storage, skew: Skew) -> None:
    stale = begin(store, "g1")
    skew.advance(minutes=1)
    with pytest.raises(LeaseLost):
        store.repository_files.save(stale, 1, "octo/hello", "hls", GOOD)
    with pytest.raises(LeaseLost):
        store.repository_files.claim_report(stale, 1, "hls", "bad")
    assert store.repository_files.find(1, "hls") is None
