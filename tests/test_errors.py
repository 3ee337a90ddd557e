"""Every error once: its status, its code, its sentence, and the tree in the module's docstring."""

import os
import re

import pytest

from service import errors
from service.errors import FieldError, GazeError, JobError, StartError

PROBLEMS = GazeError.__subclasses__()
START_ERRORS = StartError.__subclasses__()
# The table of the HTTP contract.
CONTRACT = {
    400: {"malformed_request"},
    401: {"unauthorized"},
    403: {"foreign_origin"},
    404: {"unknown_list", "not_found"},
    405: {"method_not_allowed"},
    413: {"request_too_large", "image_too_large"},
    415: {"unsupported_media_type", "unsupported_image_format"},
    421: {"misdirected_request"},
    422: {"invalid_request", "undecodable_image", "image_dimensions", "url_not_allowed"},
    429: {"rate_limited"},
    500: {"internal_error"},
    502: {"image_fetch_failed"},
    503: {"overloaded", "not_ready", "shutting_down"},
    504: {"image_fetch_timeout"},
}


def test_codes_and_statuses_are_the_contracts() -> None:
    served = {(problem.status, problem.code) for problem in PROBLEMS}
    only_logged = {(499, "caller_gone")}
    assert served - only_logged == {(status, code) for status, codes in CONTRACT.items() for code in codes}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_is_described(problem: type[GazeError]) -> None:
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", problem.__name__).lower()
    assert problem.code == words
    assert re.fullmatch(r"[A-Z][A-Za-z ]+[a-z]", problem.title)
    assert re.fullmatch(r"[A-Z].*[^.]\.", problem.default_detail)
    assert problem.__doc__
    assert problem.__subclasses__() == []


@pytest.mark.parametrize("attribute", ["code", "title", "default_detail"])
def test_no_two_problems_say_the_same(attribute: str) -> None:
    assert len({getattr(problem, attribute) for problem in PROBLEMS}) == len(PROBLEMS)


def test_the_tree_in_the_docstring_is_the_classes_that_there_are() -> None:
    assert errors.__doc__
    drawn = re.findall(r"^[├└]── (\w+) +(\d+)(?: (\w+))?$", errors.__doc__, re.MULTILINE)
    problems = [(problem.__name__, str(problem.status), problem.code) for problem in PROBLEMS]
    starts = [(error.__name__, str(error.exit_code), "") for error in START_ERRORS]
    assert sorted(drawn) == sorted([*problems, *starts])
    assert len(re.findall("[├└]", errors.__doc__)) == len(drawn)
    defined = {
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, Exception) and thing.__module__ == errors.__name__
    }
    assert defined == {GazeError, StartError, JobError, *PROBLEMS, *START_ERRORS}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_carries_what_it_is_given(problem: type[GazeError]) -> None:
    plain = problem()
    assert plain.detail == str(plain) == problem.default_detail
    assert (plain.errors, plain.retry_after, plain.allow, plain.progress) == ((), None, (), None)
    wrong = FieldError("/lists/0", "Unknown.")
    full = problem("More.", errors=(wrong,), retry_after=5, allow=("GET",), progress={"done": 1})
    assert full.detail == str(full) == "More."
    assert (full.errors, full.retry_after, full.allow, full.progress) == ((wrong,), 5, ("GET",), {"done": 1})


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [
        ("StartError", os.EX_CONFIG),
        ("InvalidSettings", 78),
        ("InvalidList", 78),
        ("UnsuitableModel", 78),
        ("CorruptModel", 65),
        ("ModelUnavailable", 69),
    ],
)
def test_exit_codes(name: str, exit_code: int) -> None:
    error = getattr(errors, name)("A sentence.")
    assert error.exit_code == exit_code
    assert str(error) == "A sentence."
    assert not isinstance(error, GazeError)
