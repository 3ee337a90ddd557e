"""What docs/recipes.md says of the files and of the commands is so."""

import re
import shlex

import pytest

from service.bulk.command import bulk
from service.documents.formats import FORMATS
from service.documents.tables import COLLECTIONSPACE, COLLECTIVEACCESS, OMEKA_S, RESOURCESPACE, Table
from tests.conftest import REPOSITORY

RECIPES = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return RECIPES.split(f"\n## {heading}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("heading", "table"),
    [("CollectionSpace", COLLECTIONSPACE), ("Omeka S", OMEKA_S), ("ResourceSpace", RESOURCESPACE)],
)
def test_the_columns_of_a_file_are_explained(heading: str, table: Table) -> None:
    assert re.findall(r"^\| `([^`]+)` \|", section(heading), re.MULTILINE) == list(dict.fromkeys(table.columns))


def test_the_mapping_of_collectiveaccess_names_each_column_by_its_number() -> None:
    sources = re.findall(r"^\| Mapping \| (\d) \|", section("CollectiveAccess"), re.MULTILINE)
    assert list(map(int, sources)) == list(range(1, len(COLLECTIVEACCESS.columns) + 1))


def test_the_columns_of_a_note_are_explained() -> None:
    names = re.findall(r"`(\w+)`", section("What the files are").split("**In a cell")[0])
    assert set(FORMATS["csv"].table.columns if FORMATS["csv"].table else ()) - set(names) == {"object_number"}


def test_the_commands_have_options_and_formats_that_there_are() -> None:
    lines = re.findall(r"^.*gaze bulk (.+)$", RECIPES.replace("\\\n", " "), re.MULTILINE)
    commands = [shlex.split(line) for line in lines if "--out" in line]
    known = {option for parameter in bulk.params for option in parameter.opts}
    assert len(commands) == 6
    for command in commands:
        assert {word for word in command if word.startswith("--")} <= known
        assert command[command.index("--format") + 1] in FORMATS
    assert set(re.findall(r"\?format=([\w-]+)", RECIPES)) <= set(FORMATS)
