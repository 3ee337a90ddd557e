"""What the documents tell a reader to type: commands out of their blocks of code and between their backticks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

DOCUMENTS = (
    REPOSITORY / "README.md",
    REPOSITORY / "SECURITY.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    REPOSITORY / "models" / "demo" / "README.md",
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")
_SETTING = re.compile(r"[A-Z][A-Z0-9_]*=.*", re.DOTALL)
_PUNCTUATION = "();<>|&"


@dataclass(frozen=True)
class Command:
    """One command.

    document: where it stands, from the repository's root
    words:    the program and its arguments
    settings: variables that are set for it alone
    in_block: whether it is to be typed as it stands, rather than named in a sentence
    """

    document: str
    words: tuple[str, ...]
    settings: tuple[str, ...] = ()
    in_block: bool = True

    @property
    def program(self) -> str:
        """The program's name, without the folder of a virtual environment."""
        return self.words[0].removeprefix(".venv/bin/")

    def __str__(self) -> str:
        return shlex.join((*self.settings, *self.words))


def blocks(text: str, language: str) -> list[str]:
    """Return a document's blocks of code in a language."""
    return [block for name, block in _BLOCK.findall(text) if name == language]


def spans(text: str) -> list[str]:
    """Return what stands between backticks in a document's sentences, each on one line."""
    return [" ".join(span.split()) for span in _SPAN.findall(_BLOCK.sub("", text))]


def commands_in(path: Path, programs: frozenset[str]) -> list[Command]:
    """Return the commands of a document: all of its blocks, and of its sentences those of these programs.

    Of a script, which begins with #!, only those of these programs as well.
    """
    text, document = path.read_text(encoding="utf-8"), str(path.relative_to(REPOSITORY))
    found: list[Command] = []
    for block in blocks(text, "sh"):
        of_block = [Command(document, words, settings) for settings, words in parsed(block)]
        found += [each for each in of_block if not block.startswith("#!") or each.program in programs]
    for span in spans(text):
        if re.match(r"[\w./]+( |$)|[A-Z_]+=", span) and span.count("'") % 2 == 0 and span.count('"') % 2 == 0:
            named = [Command(document, words, settings, in_block=False) for settings, words in parsed(span)]
            # A name alone is a name, but for a script's.
            found += [each for each in named if each.program in programs and (each.words[1:] or "/" in each.program)]
    return found


def parsed(text: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield the settings and the words of each command of a shell's text, without what they are joined by."""
    line = ""
    for part in text.replace("\\\n", " ").split("\n"):
        line += part
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars=_PUNCTUATION)
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:  # a quote that is closed in a later line
            line += "\n"
            continue
        line = ""
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set(_PUNCTUATION):
                settings = next((place for place, each in enumerate(command) if not _SETTING.fullmatch(each)), None)
                if settings is not None:
                    yield tuple(command[:settings]), tuple(command[settings:])
                command = []
            else:
                command.append(word)
