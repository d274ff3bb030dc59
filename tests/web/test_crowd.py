"""Who is waited for, since when, and who has to go."""

from __future__ import annotations

from hls_handler.web.crowd import Awaited, Crowd

PATIENCE_S: dict[Awaited, float] = {"head": 10, "next request": 15, "reading": 20}


def crowd(*clients: str) -> Crowd[str]:
    """`clients` came one second after the other, the first at second 1."""
    made: Crowd[str] = Crowd()
    for second, client in enumerate(clients, start=1):
        made.enter(client, second)
    return made


def test_who_is_silent_longest_goes_first() -> None:
    assert crowd("first", "second").longest_awaited() == "first"


def test_who_is_served_does_not_go() -> None:
    clients = crowd("first", "second")
    clients.serve("first")
    assert clients.longest_awaited() == "second"
    clients.serve("second")
    assert clients.longest_awaited() is None
    assert len(clients) == 2


def test_dripping_gains_no_time() -> None:
    clients = crowd("dripping", "second")
    for second in range(3, 11):
        clients.wait("dripping", "head", second)
    assert clients.longest_awaited() == "dripping"
    assert clients.overdue(10.9, PATIENCE_S) == []
    assert clients.overdue(11, PATIENCE_S) == [("dripping", "head")]


def test_what_comes_next_is_waited_for_from_then_on() -> None:
    clients = crowd("first", "second")
    clients.wait("first", "body", 3)
    assert clients.longest_awaited() == "second"
    assert clients.overdue(12, PATIENCE_S) == [("second", "head")]


def test_the_same_again_after_an_answer_is_waited_for_anew() -> None:
    clients = crowd("client")
    clients.wait("client", "next request", 5)
    clients.serve("client")
    clients.wait("client", "next request", 15)
    assert clients.overdue(29.9, PATIENCE_S) == []
    assert clients.overdue(30, PATIENCE_S) == [("client", "next request")]


def test_a_body_has_its_deadline_elsewhere() -> None:
    clients = crowd("client")
    clients.wait("client", "body", 2)
    assert clients.overdue(1_000_000, PATIENCE_S) == []


def test_who_left_is_not_waited_for_any_more() -> None:
    clients = crowd("first", "second")
    clients.leave("first")
    clients.wait("first", "reading", 3)
    assert clients.longest_awaited() == "second"
    assert len(clients) == 1
    clients.leave("first")
    assert len(clients) == 1
