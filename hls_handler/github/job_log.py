"""Reads the log of a workflow job line by line, streamed from the storage URL that GitHub redirects
to.

The URL is valid for one minute and gives access to the log without a token. Therefore no message
contains it, and GitHub's token is not sent to it.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from urllib.parse import urlsplit

import httpx2

from hls_handler import __version__
from hls_handler.github.errors import translate_exception, unexpected_response
from hls_handler.github.values import NoLog
from hls_handler.settings.values import is_loopback
from hls_handler.transport import ProxySettings, find_proxy_settings

MAX_LINE_CHARS = 16_384  # characters; the rest of a longer line is skipped
LOG_TRUNCATED = "[cut here: the log is longer than {} MB]"
LINE_TRUNCATED = " [line cut here]"


@dataclass(frozen=True, slots=True)
class LogLimits:
    idle_s: float  # wait for the next byte
    # of the download as a whole; the time that the caller spends between two lines counts
    read_s: float = 120.0
    max_bytes: int = 100 * 1024 * 1024


def read_log(
    call: str, url: str, *, base_url: str, now: Callable[[], datetime], limits: LogLimits
) -> Iterator[str] | NoLog:
    """Return the lines of the log at `url`, to which GitHub redirected the request `call`.

    Returns `NoLog` if the log was deleted or is empty. Raises `DependencyDown`, also during
    iteration.
    """
    if not is_allowed_url(url, base_url):
        raise unexpected_response(call, "the URL of the log must begin with https")
    proxy = find_proxy_settings(url)
    transport = proxy.new_transport(limits.read_s, idle_s=limits.idle_s)
    try:
        request = httpx2.Request("GET", url, headers={"User-Agent": f"hls/{__version__}"})
        response = transport.handle_request(request)
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        transport.close()
        # `from None`, because the exception's text has the URL
        raise translate_exception(call, exc, now(), proxy) from None
    if response.status_code != 200:
        transport.close()
        if response.status_code in (404, 410):
            return NoLog("expired")
        raise unexpected_response(
            call, f"the server that stores the log answered {response.status_code}"
        )
    lines = _lines(_chunks(call, transport, response, now, proxy), limits.max_bytes)
    first = next(lines, None)
    if first is None:
        return NoLog("empty")
    return chain((first,), lines)


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
    bytes_left = max_bytes
    unfinished = ""  # a line without its end, cut after the limit
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
    if len(text) <= MAX_LINE_CHARS:
        return text
    return text[:MAX_LINE_CHARS] + LINE_TRUNCATED


def is_allowed_url(url: str, base_url: str) -> bool:
    """Return True if `url` is https, or if both URLs are http with loopback hosts; False if `url`
    has a user name.
    """
    try:
        target = urlsplit(url)
        api = urlsplit(base_url)
        if not target.hostname or target.username is not None:
            return False
        is_local = is_loopback(target.hostname) and is_loopback(api.hostname or "")
        return target.scheme == "https" or (target.scheme == api.scheme == "http" and is_local)
    except ValueError:
        return False
