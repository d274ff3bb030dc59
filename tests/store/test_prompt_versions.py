"""The stored versions of prompts: written at the first use, deleted when nothing refers to them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hls_handler.deliveries import Lease
from hls_handler.prompting.prompt import PromptSources
from hls_handler.storage import Storage
from tests.queue.builders import SOURCES, Skew, begin
from tests.store.test_reply_cache import find, make_reply, store_reply


def use(store: Storage, lease: Lease, prompt_id: str, sources: PromptSources = SOURCES) -> None:
    store.calls.begin(
        lease,
        index=0,
        prompt_id=prompt_id,
        model="claude-haiku",
        requests_per_second=1_000_000,
        calls_per_hour=200,
        request_digest=b"\x01" * 32,
        sources=sources,
    )


def ids(store: Storage, *prompt_ids: str) -> list[str]:
    return [one for one in prompt_ids if store.prompt_versions.find(one) is not None]


def test_first_call_stores_the_version_once(store: Storage) -> None:
    lease = begin(store, "g1")
    use(store, lease, "issues/analyze@1")
    use(store, lease, "issues/analyze@1", replace(SOURCES, front="another"))
    assert store.prompt_versions.find("issues/analyze@1") == SOURCES
    assert store.prompt_versions.find("issues/analyze@2") is None
    assert [call.request_digest for call in store.calls.calls_of("g1")] == [b"\x01" * 32] * 2


def test_version_is_deleted_when_no_call_and_no_reply_refers_to_it(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    use(store, lease, "issues/analyze@1")
    store_reply(store, lease, make_reply())
    store.queue.dead_letter(lease, reason="locked")
    skew.advance(days=100)
    use(store, begin(store, "g2"), "issues/analyze@2")
    cached_lease, cached = begin(store, "g3"), find(store, ttl_h=9999)
    assert cached is not None
    reply = replace(make_reply(), prompt_id="issues/analyze@3")
    store.calls.save_cached(cached_lease, cached, index=0, reply=reply, sources=SOURCES, changes=())
    names = [f"issues/analyze@{number}" for number in (1, 2, 3)]
    assert store.retention.delete_prompt_versions() == 0
    assert ids(store, *names) == names
    assert store.retention.delete_deliveries(after=timedelta(days=90), most=20) == 1
    assert store.retention.delete_prompt_versions() == 1
    assert ids(store, *names) == names[1:]
