from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes.driven_clock import DrivenClock

from agent.errors import CredentialsRefused, ServiceTrouble, ServiceUnavailable
from agent.model import LaneReason
from agent.services.tokens import Tokens


class Issuer:
    """Hands out numbered tokens."""

    def __init__(self, life: float | None = 86400) -> None:
        self.life = life
        self.count = 0

    def __call__(self) -> tuple[str, float | None]:
        self.count += 1
        return f"token-{self.count}", self.life


class AnnouncingLock:
    """A lock that tells how many threads have come for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.wanted = threading.Semaphore(0)

    def __enter__(self) -> None:
        self.wanted.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_a_token_is_fetched_once_and_kept() -> None:
    issuer = Issuer()
    tokens = Tokens(issuer, clock=DrivenClock())
    assert [tokens.current() for _ in range(3)] == ["token-1"] * 3


def test_a_token_is_renewed_two_minutes_before_its_end() -> None:
    clock = DrivenClock()
    tokens = Tokens(Issuer(3600), clock=clock)
    tokens.current()
    clock.advance(3600 - 121)
    before = tokens.current()
    clock.advance(1)
    assert (before, tokens.current()) == ("token-1", "token-2")


@pytest.mark.parametrize("jump", [86400, -86400])
def test_a_wall_clock_a_day_off_changes_nothing(jump: float) -> None:
    clock = DrivenClock()
    tokens = Tokens(Issuer(3600), clock=clock)
    tokens.current()
    clock.jump(jump)
    assert tokens.current() == "token-1"


def test_a_token_of_short_life_is_used_for_half_of_it() -> None:
    clock = DrivenClock()
    tokens = Tokens(Issuer(60), clock=clock)
    tokens.current()
    clock.advance(29)
    before = tokens.current()
    clock.advance(1)
    assert (before, tokens.current()) == ("token-1", "token-2")


@pytest.mark.parametrize("life", [None, 0, -5, float("nan"), float("inf")])
def test_a_token_of_unreadable_life_is_used_for_most_of_an_hour(life: float | None) -> None:
    clock = DrivenClock()
    tokens = Tokens(Issuer(life), clock=clock)
    tokens.current()
    clock.advance(3400)
    assert tokens.current() == "token-1"


def test_threads_refused_with_one_token_share_one_new_token() -> None:
    issuer = Issuer()
    tokens = Tokens(issuer, clock=DrivenClock())
    refused = tokens.current()
    with ThreadPoolExecutor(8) as pool:
        renewed = list(pool.map(lambda _: tokens.replace(refused), range(8)))
    assert (set(renewed), issuer.count) == ({"token-2"}, 2)


def test_threads_that_waited_share_the_failure_instead_of_asking_again() -> None:
    asked = threading.Event()
    answer = threading.Event()
    fetches = []

    def fetch() -> tuple[str, float | None]:
        fetches.append(1)
        asked.set()
        answer.wait(10)
        raise CredentialsRefused("wrong", reason=LaneReason.CREDENTIALS_REFUSED)

    tokens = Tokens(fetch, clock=DrivenClock())
    lock = AnnouncingLock()
    tokens._lock = lock  # type: ignore[assignment]

    def ask(*, first: bool) -> type[ServiceTrouble]:
        if not first:
            asked.wait(10)
        with pytest.raises(ServiceTrouble) as raised:
            tokens.current()
        return type(raised.value)

    with ThreadPoolExecutor(5) as pool:
        leader = pool.submit(ask, first=True)
        others = [pool.submit(ask, first=False) for _ in range(4)]
        for _ in range(5):
            assert lock.wanted.acquire(timeout=10)
        answer.set()
        kinds = {leader.result(10), *(other.result(10) for other in others)}
    assert (kinds, len(fetches)) == ({CredentialsRefused}, 1)


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "ü", "x" * 20000])
def test_a_token_no_header_can_carry_is_trouble_of_the_service(token: str) -> None:
    tokens = Tokens(lambda: (token, 60.0), clock=DrivenClock())
    with pytest.raises(ServiceUnavailable):
        tokens.current()


def test_a_failure_is_forgotten_with_the_next_token() -> None:
    outcomes = [ServiceUnavailable("503", reason=LaneReason.SERVICE_UNAVAILABLE), None]

    def fetch() -> tuple[str, float | None]:
        if (trouble := outcomes.pop(0)) is not None:
            raise trouble
        return "token", 60.0

    tokens = Tokens(fetch, clock=DrivenClock())
    with pytest.raises(ServiceUnavailable):
        tokens.current()
    assert tokens.current() == "token"
