"""A patient fetcher asks once more where it may help, and nowhere else."""

from collections.abc import Sequence

import pytest

from service.bulk.reading import RetryingFetcher
from service.errors import GazeError, ImageFetchFailed, ImageFetchTimeout
from service.images.fetch.addresses import FetchPolicy
from service.images.fetch.fetcher import FetchLimits
from tests.support.origin import Answer, Origin, http, reset, until_hung_up

PICTURE = http(b"a picture")


def answers_in_turn(answers: Sequence[Answer]) -> Answer:
    """Give each connection the next answer, and the last one to all that follow."""
    left = list(answers)

    def answer(connection: object) -> None:
        now = left.pop(0) if len(left) > 1 else left[0]
        now(connection) if callable(now) else connection.sendall(now)  # type: ignore[attr-defined, arg-type]

    return answer


def fetcher(seconds: float = 5.0, pauses: Sequence[float] = (0.01, 0.01)) -> RetryingFetcher:
    return RetryingFetcher(FetchPolicy.parse("127.0.0.0/8"), FetchLimits(1_000, seconds), pauses)


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [
        ([http(b"", status="503 Busy"), PICTURE], 5.0),
        ([http(b"", status="429 Slowly"), http(b"", status="500 Oh"), PICTURE], 5.0),
        ([reset, reset, PICTURE], 5.0),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\ncut", PICTURE], 5.0),
        ([until_hung_up(), PICTURE], 1.0),
    ],
    ids=["busy", "quota, then a defect", "reset", "cut short", "too slow"],
)
def test_host_that_answers_another_time(answers: Sequence[Answer], seconds: float) -> None:
    with Origin({"/a.jpg": answers_in_turn(answers)}) as origin:
        assert fetcher(seconds).fetch(f"http://{origin.address}/a.jpg") == b"a picture"
        assert origin.connections == len(answers)


def test_documents_are_asked_for_once_more_too() -> None:
    with Origin({"/m": answers_in_turn([http(b"", status="502 Away"), http(b"{}")])}) as origin:
        assert fetcher().fetch_document(f"http://{origin.address}/m") == b"{}"


@pytest.mark.parametrize(
    ("answer", "error", "times", "seconds"),
    [
        (http(b"", status="404 Gone"), ImageFetchFailed, 1, 5.0),
        (http(b"", status="403 No"), ImageFetchFailed, 1, 5.0),
        (http(b"x" * 2_000), GazeError, 1, 5.0),
        (http(b"", status="503 Busy"), ImageFetchFailed, 3, 5.0),
        (until_hung_up(), ImageFetchTimeout, 3, 1.0),
    ],
    ids=["not found", "forbidden", "too large", "always busy", "never answers"],
)
def test_last_answer_counts(answer: Answer, error: type[GazeError], times: int, seconds: float) -> None:
    with Origin({"/a.jpg": answer}) as origin:
        with pytest.raises(error):
            fetcher(seconds).fetch(f"http://{origin.address}/a.jpg")
        assert origin.connections == times


def test_a_host_that_stays_silent_is_asked_once_for_what_follows_until_it_answers() -> None:
    answers: dict[str, Answer] = {"/a.jpg": until_hung_up(), "/b.jpg": until_hung_up(), "/good.jpg": PICTURE}
    with Origin(answers) as origin, Origin(answers) as other:
        one = fetcher(0.5)

        def attempts(host: Origin, name: str) -> int:
            before = host.connections
            with pytest.raises(ImageFetchTimeout):
                one.fetch(f"http://{host.address}/{name}")
            return host.connections - before

        assert [attempts(origin, "a.jpg"), attempts(origin, "b.jpg"), attempts(origin, "a.jpg")] == [3, 1, 1]
        assert attempts(other, "a.jpg") == 3
        assert one.fetch(f"http://{origin.address}/good.jpg") == b"a picture"
        assert attempts(origin, "a.jpg") == 3


def test_what_a_server_does_not_do_is_not_asked_for_again() -> None:
    with Origin({"/a.jpg": http(b"", status="501 Not Implemented")}) as origin:
        with pytest.raises(ImageFetchFailed):
            fetcher().fetch(f"http://{origin.address}/a.jpg")
        assert origin.connections == 1


def test_deadline_comes_before_another_attempt() -> None:
    import time  # noqa: PLC0415

    with Origin({"/a.jpg": http(b"", status="503 Busy")}) as origin:
        with pytest.raises(ImageFetchFailed):
            fetcher(pauses=(30.0,)).fetch(f"http://{origin.address}/a.jpg", time.monotonic() + 2)
        assert origin.connections == 2
