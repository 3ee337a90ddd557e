"""Plant the defects one at a time in a copy of the tree, run the tests there, and print which no test finds.

    python -m tests.mutants [--only TEXT] [--quick] [--related] [--processes N] [--out FILE]

First run the tests that know most of the place: those named after its module or beside the defect, then those that
import the module, and only if none of these fails, all others, as `make test-all` runs them. A test that fails without
the defect, too, is no evidence, and is left out. Ends with 1 where more survive than may.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.defects import DEFECTS, Defect
from tests.mutants.planting import Misplaced, Tree, planted
from tests.mutants.searching import Found, TestRuns

REPOSITORY = Path(__file__).parent.parent.parent
MAY_SURVIVE, MAY_SURVIVE_QUICK = 3, 10


def main(arguments: list[str]) -> int:
    """Do what the arguments say, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="a text that the names or files of the defects have in them")
    parser.add_argument("--quick", action="store_true", help="no more tests than `make test` runs")
    parser.add_argument("--related", action="store_true", help="no tests but those that know the module")
    parser.add_argument("--processes", type=int, default=1, help="how many defects are tried at a time")
    parser.add_argument("--list", action="store_true", help="say where each defect would be planted, and run nothing")
    parser.add_argument("--out", type=Path, help="a file of results, as lines of JSON; what it has is not tried again")
    options = parser.parse_args(arguments)
    chosen = [each for each in DEFECTS if options.only in each.name or options.only in each.file]
    if not chosen:
        parser.error("no defect has this in its name or file")
    if misplaced := list(_misplaced(chosen)):
        print("\n".join(misplaced), file=sys.stderr)
        return 2
    if options.list:
        for defect in chosen:
            print(f"{Tree(REPOSITORY).place_of(defect).relative_to(REPOSITORY)}: {defect.name}")
        return 0
    os.nice(10)
    known = _results(options.out)
    survived = sum(known[each.name] is None for each in chosen if each.name in known)
    untried = [each for each in chosen if each.name not in known]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees: SimpleQueue[Tree] = SimpleQueue()
        for number in range(options.processes):
            trees.put(Tree.copied(REPOSITORY, Path(folder) / str(number)))

        def tried(defect: Defect) -> Found:
            tree = trees.get()
            try:
                runs = TestRuns(tree, tree.place_of(defect), defect.tests, quick=options.quick)
                with planted(tree, defect):
                    return runs.search(related_only=options.related)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(options.processes) as pool:
            for defect, found in zip(untried, pool.map(tried, untried), strict=True):
                survived += found.test is None
                print(f"{'SURVIVED' if found.test is None else 'caught':9}{found.seconds:6.0f} s  {defect.name}")
                print(f"{'':19}{defect.file}: {found.test or 'no test failed'}", flush=True)
                if options.out:
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"name": defect.name, "file": defect.file, **asdict(found)}) + "\n")
    by = "make test" if options.quick else "all tests"
    print(f"{len(chosen) - survived} of {len(chosen)} defects are caught by {by}")
    return int(survived > (MAY_SURVIVE_QUICK if options.quick else MAY_SURVIVE))


def _results(file: Path | None) -> dict[str, str | None]:
    """Return the tests that have found defects, by the defect's name; None for one that survived."""
    lines = file.read_text(encoding="utf-8").splitlines() if file and file.exists() else []
    return {line["name"]: line["test"] for line in map(json.loads, lines)}


def _misplaced(defects: list[Defect]) -> Iterator[str]:
    """Yield what is wrong with the table: each defect needs a place of its own."""
    for defect in defects:
        try:
            Tree(REPOSITORY).place_of(defect)
        except Misplaced as error:
            yield str(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
