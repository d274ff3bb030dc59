"""Reads the log of a workflow job line by line, streamed from the storage URL that GitHub redirects
to.

The URL is valid for one minute and gives access to the log without a token. Therefore no message
contains it, and GitHub's token is not sent to it.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from itertools import chain
from urllib.parse import urlsplit

import httpx2

from hls_handler import __version__
from hls_handler.github.errors import translate_exception, unexpected_response
from hls_handler.github.values import NoLog
from hls_handler.settings.values import is_loopback
from hls_handler.transport import ProxySettings, find_proxy_settings

MAX_BYTES = 100 * 1024 * 1024
MAX_LINE_CHARS = 16_384  # characters; the rest of a longer line is skipped
MAX_READ_S = 120.0
"""Limit of a download as a whole. The time that the caller spends between two lines counts."""

LOG_TRUNCATED = "[cut here: the log is longer than {} MB]"
LINE_TRUNCATED = " [line cut here]"


def read_log(
    call: str,
    url: str,
    *,
    base_url: str,
    now: Callable[[], datetime],
    timeout_s: float,
    max_bytes: int = MAX_BYTES,
    max_read_s: float = MAX_READ_S,
) -> Iterator[str] | NoLog:
    """Return the lines of the log at `url`, to which GitHub redirected the request `call`.

    `timeout_s` limits the wait for the next byte, and `max_read_s` the download as a whole.

    Returns `NoLog` if the log was deleted or is empty. Raises `DependencyDown`, also during
    iteration.
    """
    if not is_allowed_url(url, base_url):
        raise unexpected_response(call, "the URL of the log must begin with https")
    proxy = find_proxy_settings(url)
    transport = proxy.new_transport(max_read_s, idle_s=timeout_s)
    try:
        request = httpx2.Request("GET", url, headers={"User-Agent": f"hls/{__version__}"})
        response = transport.handle_request(request)
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        transport.close()
        raise translate_exception(
            call, exc, now(), proxy
        ) from None  # the exception's text has the URL
    if response.status_code != 200:
        transport.close()
        if response.status_code in (404, 410):
            return NoLog("expired")
        raise unexpected_response(
            call, f"the server that stores the log answered {response.status_code}"
        )
    lines = _lines(_chunks(call, transport, response, now, proxy), max_bytes)
    first = next(lines, None)
    return NoLog("empty") if first is None else chain((first,), lines)


def _chunks(
    call: str,
    transport: httpx2.BaseTransport,
    response: httpx2.Response,
    now: Callable[[], datetime],
    proxy: ProxySettings,
) -> Iterator[bytes]:
    with transport, closing(response):
        try:
            yield from response.iter_bytes()
        except httpx2.HTTPError as exc:
            raise translate_exception(call, exc, now(), proxy) from None


def _lines(chunks: Iterator[bytes], max_bytes: int) -> Iterator[str]:
    decoder = getincrementaldecoder("utf-8-sig")("replace")
    # `unfinished`: a line without its end, cut after the limit
    bytes_left, unfinished = (
        max_bytes,
        "",
    )
    for chunk in chunks:
        *complete, unfinished = (unfinished + decoder.decode(chunk[:bytes_left])).split("\n")
        yield from map(_truncate_line, complete)
        unfinished = unfinished[: MAX_LINE_CHARS + 1]
        bytes_left -= len(chunk)
        if bytes_left < 0:
            yield _truncate_line(unfinished)
            yield LOG_TRUNCATED.format(max_bytes // 2**20)
            return
    unfinished += decoder.decode(b"", final=True)
    if unfinished:
        yield _truncate_line(unfinished)


def _truncate_line(line: str) -> str:
    text = line.removesuffix("\r")
    return text if len(text) <= MAX_LINE_CHARS else text[:MAX_LINE_CHARS] + LINE_TRUNCATED


def is_allowed_url(url: str, base_url: str) -> bool:
    """Return True if `url` is https, or if both URLs are http with loopback hosts; False if `url`
    has a user name.
    """
    try:
        target, api = urlsplit(url), urlsplit(base_url)
        if not target.hostname or target.username is not None:
            return False
        is_local = is_loopback(target.hostname) and is_loopback(api.hostname or "")
        return target.scheme == "https" or (target.scheme == api.scheme == "http" and is_local)
    except ValueError:
        return False
