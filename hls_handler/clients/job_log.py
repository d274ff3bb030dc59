"""The log of a job as lines, read from the storage that GitHub points to, piece by piece as they are taken.

GitHub answers with an address that is valid for a minute and needs no token: whoever has it can read the log. So it
stands in no message, and our token does not go there.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

import requests
import urllib3

from hls_handler import __version__
from hls_handler.clients.refusals import unexpected, unreachable
from hls_handler.clients.way import Way, find_way
from hls_handler.handlers.reader import NoLog

MOST_BYTES = 100 * 1024 * 1024
LONGEST_LINE = 16_384  # characters; the rest of a longer one is passed over
LONGEST_READ = timedelta(minutes=2)
"""From the first byte to the last, while whoever takes the lines is prompt."""

PIECE = 65_536
CUT = "[cut here: the log is longer than {} MB]"
LINE_CUT = " [line cut here]"


def read_log(
    call: str,
    address: str,
    *,
    base_url: str,
    now: Callable[[], datetime],
    timeout_s: float,
    most_bytes: int = MOST_BYTES,
) -> Iterator[str] | NoLog:
    """The lines behind an address that GitHub answered `call` with.

    Raises `DependencyDown`, also while lines are taken. The connection ends with the iterator.
    """
    if not may_follow(address, base_url):
        raise unexpected(call, "an address of the log that is not https")
    way = find_way(address)
    session = requests.Session()
    way.lead(session)
    try:
        response = session.get(
            address,
            headers={"User-Agent": f"hls/{__version__}"},
            auth=_nobody,
            stream=True,
            allow_redirects=False,
            timeout=timeout_s,
            verify=way.authorities,
        )
    except (OSError, urllib3.exceptions.HTTPError, ValueError) as exc:
        session.close()
        raise unreachable(call, exc, now(), way) from None  # its text quotes the address
    if response.status_code != 200:
        response.close()
        session.close()
        if response.status_code in (404, 410):
            return NoLog("expired")
        raise unexpected(call, f"{response.status_code} at the address of the log")
    lines = _lines(_pieces(call, session, response, now, way), most_bytes)
    first = next(lines, None)
    return NoLog("empty") if first is None else _again(first, lines)


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sends no credentials, also not those that a .netrc has for the host."""
    return request


def _again(first: str, others: Iterator[str]) -> Iterator[str]:
    yield first
    yield from others


def _pieces(
    call: str, session: requests.Session, response: requests.Response, now: Callable[[], datetime], way: Way
) -> Iterator[bytes]:
    """What has arrived, as it arrives: who drips must not keep us waiting until a piece is full."""
    late = now() + LONGEST_READ
    with session, response:
        while True:
            try:
                piece = response.raw.read1(PIECE, decode_content=True)
            except (OSError, urllib3.exceptions.HTTPError) as exc:
                raise unreachable(call, exc, now(), way) from None
            if not piece:
                return
            yield piece
            if now() > late:
                raise unreachable(call, TimeoutError(), now(), way)


def _lines(pieces: Iterator[bytes], most_bytes: int) -> Iterator[str]:
    r"""Line ends are \n or \r\n, and nothing else. What is no UTF-8 is replaced; a byte order mark is passed over."""
    decoder = getincrementaldecoder("utf-8-sig")("replace")
    left, begun = most_bytes, ""  # of a line that has not ended, one character more than is shown at most
    for piece in pieces:
        *ended, begun = (begun + decoder.decode(piece[:left])).split("\n")
        yield from map(_shown, ended)
        begun = begun[: LONGEST_LINE + 1]
        left -= len(piece)
        if left < 0:
            yield _shown(begun)
            yield CUT.format(most_bytes // 2**20)
            return
    begun += decoder.decode(b"", final=True)
    if begun:
        yield _shown(begun)


def _shown(line: str) -> str:
    whole = line.removesuffix("\r")
    return whole if len(whole) <= LONGEST_LINE else whole[:LONGEST_LINE] + LINE_CUT


def may_follow(address: str, base_url: str) -> bool:
    """Only https, or from one loopback address over http to another, as with a stand-in for GitHub."""
    try:
        there, here = urlsplit(address), urlsplit(base_url)
        if not there.hostname or there.username is not None:
            return False
        plain = there.scheme == here.scheme == "http" and _is_loopback(there.hostname) and _is_loopback(here.hostname)
        return there.scheme == "https" or plain
    except ValueError:
        return False


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False
