"""The table of planted defects: each has a place in the code as it stands, and is code itself."""

import ast
from pathlib import Path

import pytest

from tests.mutants.defects import DEFECTS, Defect
from tests.mutants.planting import Misplaced, Tree, planted

REPOSITORY = Path(__file__).parent.parent


def test_there_are_sixty() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) == 60


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_each_has_one_place(defect: Defect) -> None:
    place = Tree(REPOSITORY).place_of(defect)
    changed = place.read_text(encoding="utf-8").replace(defect.old, defect.new)
    assert defect.old != defect.new
    if place.suffix == ".py":
        ast.parse(changed)


def test_each_knows_tests_that_are_there() -> None:
    there = {path.stem.removeprefix("test_") for path in (REPOSITORY / "tests").glob("test_*.py")}
    assert {name for defect in DEFECTS for name in defect.tests} <= there


def test_a_defect_is_found_where_it_moved_and_taken_out(tmp_path: Path) -> None:
    tree, defect = Tree(tmp_path), Defect("wrong", "old/place.py", "a < b", "a <= b")
    moved = tmp_path / "service" / "new.py"
    moved.parent.mkdir()
    moved.write_text("x = a < b\n")
    with planted(tree, defect) as place:
        assert (place, moved.read_text()) == (moved, "x = a <= b\n")
    assert moved.read_text() == "x = a < b\n"


@pytest.mark.parametrize("code", ["", "x = a < b\ny = a < b\n"])
def test_a_place_that_is_not_one_is_refused(tmp_path: Path, code: str) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "code.py").write_text(code)
    with pytest.raises(Misplaced, match="must stand once"):
        Tree(tmp_path).place_of(Defect("wrong", "code.py", "a < b", "a <= b"))
