"""The cache of replies, and the stored versions of prompts: what is found, for how long, and what
is deleted.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from hls_handler.analysis import Reply, Usage
from hls_handler.deliveries import End, Lease
from hls_handler.engine.codecs import encode_reply
from hls_handler.store.call_rows import CachedReply, CacheKey
from hls_handler.store.storage import Storage
from tests.engine.world import BUG
from tests.queue.builders import Skew, begin, replies_to, start_call

PROMPT = "issues/analyze@3f9c2a"
KEY = CacheKey(1, hashlib.sha256(b"a question").digest())
HOUR = timedelta(hours=1)


def make_reply(summary: str = "It fails.", *, cost_usd: float | None = 0.0123) -> Reply:
    reply = BUG.model_copy(update={"summary": summary})
    return Reply(
        PROMPT, "issue_analysis", reply, Usage("claude-haiku-5-5", 900, 100, cost_usd=cost_usd)
    )


def store_reply(store: Storage, lease: Lease, reply: Reply, key: CacheKey = KEY) -> None:
    call_id = start_call(store, lease, PROMPT)
    store.calls.end(
        lease,
        call_id,
        outcome="ok",
        usage=reply.usage,
        error=None,
        reply=encode_reply(reply),
        cache_key=key,
    )


def find(store: Storage, key: CacheKey = KEY, *, ttl_h: float = 168) -> CachedReply | None:
    return store.reply_cache.find(key, ttl_h=ttl_h)


def test_reply_is_found_until_it_expires_and_a_new_one_replaces_it(
    store: Storage, skew: Skew
) -> None:
    store_reply(store, begin(store, "g1"), make_reply("first"))
    skew.advance(hours=167)
    assert find(store) is not None
    assert find(store, ttl_h=24) is None
    skew.advance(hours=1)
    assert find(store) is None
    store_reply(store, begin(store, "g2"), make_reply("second", cost_usd=None))
    found = find(store)
    assert found is not None
    assert ("second" in found.reply, found.cost_micro_usd) == (True, None)


def test_use_of_a_cached_reply_stores_the_analysis_and_counts_what_it_saved(store: Storage) -> None:
    store_reply(store, begin(store, "g1"), make_reply())
    lease, cached = begin(store, "g2"), find(store)
    assert cached is not None
    store.calls.save_cached(lease, cached, index=0, prompt_id=PROMPT)
    assert [(row.prompt_id, row.reply_type) for row in replies_to(store, "g2")] == [
        (PROMPT, "issue_analysis")
    ]
    assert [one.cached_at for guid in ("g1", "g2") for one in replies_to(store, guid)] == [
        None,
        cached.stored_at,
    ]
    assert (store.calls.calls_of("g2"), store.calls.failures()) == ([], {})
    store_reply(store, lease, make_reply(), CacheKey(1, b"asked again"))
    assert [one.cached_at for one in replies_to(store, "g2")] == [None]
    counted = store.statistics.counters()
    assert {key: n for key, n in counted.items() if key[0] == "reply_cache"} == {
        ("reply_cache", "hits"): 1,
        ("reply_cache", "saved_micro_usd"): 12_300,
    }


def test_delivery_stays_while_the_cache_may_use_its_reply_or_another_delivery_shows_it(
    store: Storage, skew: Skew
) -> None:
    def delete(cached_for: timedelta) -> int:
        day = timedelta(days=1)
        return store.retention.delete_deliveries(after=day, limit=20, cached_for=cached_for)

    lease = begin(store, "paid")
    store_reply(store, lease, make_reply())
    store.queue.finish(lease, End("dead", "locked"))
    skew.advance(hours=40)
    assert delete(48 * HOUR) == 0
    hit, cached = begin(store, "hit"), find(store)
    assert cached is not None
    store.calls.save_cached(hit, cached, index=0, prompt_id=PROMPT)
    store.queue.finish(hit, End("dead", "locked"))
    skew.advance(hours=23)
    assert delete(48 * HOUR) == 0
    assert [one.reply for one in replies_to(store, "hit")] == [cached.reply]
    skew.advance(hours=2)
    assert [delete(48 * HOUR), delete(48 * HOUR)] == [1, 1]
