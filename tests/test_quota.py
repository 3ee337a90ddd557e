"""A quota: what a moving window lets through, when it does again, and what it remembers."""

import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import pytest
from flask.testing import FlaskClient

from service.api.access import callers as quotas
from service.api.access.callers import Quota, Rate, counted_as, parse_rates
from service.errors import RateLimited
from tests.support.problem_shape import checked_problem


class Clock:
    """Time that passes when a test says so; it starts where a sum of fractions is exact."""

    def __init__(self) -> None:
        self.now = 1024.0

    def __call__(self) -> float:
        return self.now


def taken(quota: Quota, caller: bytes) -> int | None:
    """Take one, and return None, or after how many seconds it can be tried again."""
    try:
        quota.take(caller)
    except RateLimited as refused:
        return refused.retry_after
    return None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60/minute", (Rate(60, 60),)),
        ("10/second;1000/hour", (Rate(10, 1), Rate(1000, 3600))),
        (" 5 / day ; 1/second ", (Rate(5, 86400), Rate(1, 1))),
        ("200000/day", (Rate(200_000, 86400),)),
    ],
)
def test_rates_are_read(text: str, expected: tuple[Rate, ...]) -> None:
    assert parse_rates(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "60",
            "/minute",
            "60/",
            "0/minute",
            "-1/minute",
            "1.5/second",
            "60/minutes",
            "60/MINUTE",
            "60 per minute",
        ),
        *(";", "60/minute;", "60/minute,5/second", "200001/day", "9999999/day", "60/minute\n;x", "\u0661/minute"),
    ],
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 60/minute"):
        parse_rates(text)


def test_without_rates_everything_is_let_through() -> None:
    quota = Quota(())
    assert [taken(quota, b"a") for _ in range(1000)] == [None] * 1000
    assert not quota._times


def test_window_moves_with_the_clock() -> None:
    clock = Clock()
    quota = Quota([Rate(3, 60)], clock)
    for second in (0.0, 20.0, 50.0):
        clock.now = 1024.0 + second
        assert taken(quota, b"a") is None
    # The first is forgotten after a minute, and the second 20 s later: never more than three in any minute.
    for second, expected in [(50, 10), (59.5, 1), (60, None), (60, 20), (79.75, 1), (80, None), (80, 30), (110, None)]:
        clock.now = 1024.0 + second
        assert taken(quota, b"a") == expected, second


def test_every_rate_holds_and_the_longest_wait_is_told() -> None:
    clock = Clock()
    quota = Quota([Rate(2, 1), Rate(3, 100)], clock)
    assert [taken(quota, b"a") for _ in range(3)] == [None, None, 1]
    clock.now += 1
    assert [taken(quota, b"a") for _ in range(2)] == [None, 99]
    clock.now += 99
    # Two of the three are a hundred seconds old, and one second holds two.
    assert [taken(quota, b"a") for _ in range(3)] == [None, None, 1]


def test_a_refused_request_does_not_count() -> None:
    clock = Clock()
    quota = Quota([Rate(1, 10)], clock)
    assert taken(quota, b"a") is None
    for _ in range(9):
        clock.now += 1
        assert taken(quota, b"a")
    clock.now += 1
    assert taken(quota, b"a") is None


def test_callers_do_not_share() -> None:
    quota = Quota([Rate(1, 10)], Clock())
    assert [taken(quota, caller) for caller in (b"a", b"b", b"a", b"b", b"c")] == [None, None, 10, 10, None]


def test_who_has_not_asked_for_the_longest_window_is_forgotten() -> None:
    clock = Clock()
    quota = Quota([Rate(5, 1), Rate(9, 60)], clock)
    for number in range(1000):
        taken(quota, number.to_bytes(4, "big"))
    assert len(quota._times) == 1000
    clock.now += 60.5
    taken(quota, b"new")
    assert list(quota._times) == [b"new"]
    assert quota._remembered == 1


def test_no_number_of_callers_takes_more_than_so_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MAX_REQUESTS", 20_000)
    quota = Quota([Rate(100, 3600)])
    tracemalloc.start()
    for number in range(100_000):
        taken(quota, number.to_bytes(8, "big"))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert quota._remembered == len(quota._times) == 20_000
    assert held < 20_000 * 450


def test_where_there_is_no_room_who_floods_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MAX_REQUESTS", 50)
    quota = Quota([Rate(10, 3600)])
    assert [taken(quota, b"flood") for _ in range(10)] == [None] * 10
    for number in range(1000):
        assert taken(quota, number.to_bytes(8, "big")) is None
        # Refused as well, it has just asked.
        assert taken(quota, b"flood")
    assert quota._remembered <= 50
    assert quota._remembered == sum(map(len, quota._times.values()))


def test_a_caller_never_takes_more_room_than_its_rate() -> None:
    clock = Clock()
    quota = Quota([Rate(5, 1), Rate(3, 2)], clock)
    for _ in range(1000):
        clock.now += 0.5
        taken(quota, b"a")
    assert quota._remembered == len(quota._times[b"a"]) <= 5


def test_threads_together_get_no_more_than_the_rate(hasty_threads: None) -> None:
    quota = Quota([Rate(100, 3600)])
    together = threading.Barrier(8)

    def ask(_: int) -> int:
        together.wait(10)
        return sum(taken(quota, b"a") is None for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 100


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "c000:201::", False),
    ],
)
def test_one_subscriber_counts_as_one_caller(one: str, other: str, same: bool) -> None:
    assert (counted_as(ip_address(one)) == counted_as(ip_address(other))) == same


@pytest.fixture
def limited(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(rate_limit="2/hour", trusted_proxies="10.0.0.1")


def ask(client: FlaskClient, path: str = "/v1/model", peer: str = "192.0.2.1", **headers: str) -> int:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(path, headers=sent, environ_overrides={"REMOTE_ADDR": peer}).status_code


def test_who_asks_too_often_is_told_when_to_ask_again(limited: FlaskClient) -> None:
    assert [ask(limited) for _ in range(3)] == [200, 200, 429]
    response = limited.post("/v1/gaze", data=b"never read", environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    checked_problem(429, response.headers, response.data, "rate_limited")
    assert 3595 <= int(response.headers["Retry-After"]) <= 3600
    assert ask(limited, peer="192.0.2.2") == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/", "/docs", "/openapi.json", "/unknown"])
def test_what_costs_nothing_is_not_counted(limited: FlaskClient, path: str) -> None:
    assert 429 not in [ask(limited, path) for _ in range(5)]
    assert [ask(limited) for _ in range(3)] == [200, 200, 429]
    assert ask(limited, path) in (200, 404)


@pytest.mark.parametrize("path", ["/v1/lists", "/v1/lists/tools", "/v1/gaze", "/v1/unknown", "/%76%31/model"])
def test_what_costs_is_counted(limited: FlaskClient, path: str) -> None:
    statuses = [ask(limited, path) for _ in range(3)]
    assert 429 not in statuses[:2]
    assert statuses[2] == 429


def test_a_made_up_header_changes_nothing(limited: FlaskClient) -> None:
    asked = [ask(limited, X_Forwarded_For=f"198.51.100.{n}", Forwarded=f"for=198.51.100.{n}") for n in range(3)]
    assert asked == [200, 200, 429]


def test_a_trusted_proxys_clients_are_counted_each(limited: FlaskClient) -> None:
    for number in range(3):
        asked = [ask(limited, peer="10.0.0.1", X_Forwarded_For=f"192.0.2.9, 198.51.100.{number}") for _ in range(3)]
        assert asked == [200, 200, 429]


def test_with_keys_each_key_is_counted_and_not_its_address(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(rate_limit="2/hour", api_keys="one,two")
    by_one = [ask(client, peer=f"192.0.2.{n}", Authorization="Bearer one") for n in range(3)]
    assert by_one == [200, 200, 429]
    assert [ask(client, Authorization="Bearer two") for _ in range(3)] == [200, 200, 429]


def test_guessing_keys_uses_up_the_address(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(rate_limit="2/hour", api_keys="one")
    assert [ask(client, Authorization=f"Bearer {n}") for n in range(3)] == [401, 401, 429]
    assert ask(client, Authorization="Bearer one") == 200


def test_without_keys_what_is_sent_as_one_is_no_caller_of_its_own(limited: FlaskClient) -> None:
    assert [ask(limited, Authorization=f"Bearer {n}") for n in range(3)] == [200, 200, 429]


def test_no_key_is_kept_as_text(make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch) -> None:
    callers: list[bytes] = []
    real = Quota.take

    def take(quota: Quota, caller: bytes) -> None:
        callers.append(caller)
        real(quota, caller)

    monkeypatch.setattr(Quota, "take", take)
    assert ask(make_client(rate_limit="2/hour", api_keys="one-secret"), Authorization="Bearer one-secret") == 200
    assert [len(caller) for caller in callers] == [32]
    assert b"secret" not in callers[0]
