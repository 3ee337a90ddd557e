"""The bank of phrases against which every training picture is compared."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from training.colours import COLOURS
from training.patterns import PATTERNS
from training.phrases import SHOWN_BY, Subject, phrases_of, shape_phrase, with_article
from training.shapes import SHAPES

TRUE, FALSE, UNCLEAR = 1, 0, -1
Indices = NDArray[np.int64]


@cache
def _cached_phrases(subject: Subject) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return phrases_of(subject), worked out once."""
    return phrases_of(subject)


def near_misses(subject: Subject, rng: np.random.Generator) -> list[str]:
    """Return phrases of subjects that differ from this one in a single respect: they are hard to tell from it."""
    if not subject.ground and subject.other is None:
        return []
    pick = rng.choice(np.array(COLOURS), 2, replace=False).tolist()
    motifs = SHAPES if subject.motif in SHAPES else tuple(PATTERNS)
    motif = motifs[rng.integers(len(motifs))]
    if subject.other is not None:
        swapped = replace(subject, motif=subject.other.motif, other=replace(subject.other, motif=subject.motif))
        return [_cached_phrases(each)[0][2] for each in (swapped, replace(subject, colour=pick[0]))]
    others = [
        replace(subject, colour=subject.ground, ground=subject.colour),
        replace(subject, motif=motif),
        replace(subject, colour=pick[0]),
        replace(subject, ground=pick[1]),
    ]
    return [_cached_phrases(each)[0][1] for each in others if each.colour != each.ground]


class Bank:
    """All phrases that training knows: those that can be drawn, and those that are never true."""

    def __init__(self, never_true: Iterable[str]) -> None:
        """Collect the drawable phrases and never_true, which may repeat some of them."""
        pairs = {phrase for phrase, subjects in SHOWN_BY.items() if all(each.other for each in subjects)}
        drawable = [phrase for phrase in SHOWN_BY if phrase not in pairs]
        foreign = [phrase for phrase in dict.fromkeys(never_true) if phrase not in SHOWN_BY]
        self.phrases: tuple[str, ...] = (*drawable, *foreign, *sorted(pairs))
        self._index = {phrase: number for number, phrase in enumerate(self.phrases)}
        self._drawable, self._foreign = len(drawable), len(foreign)
        # The simplest phrases are in every comparison: what they name is soonest learnt when named alone.
        simple = [with_article(shape) for shape in SHAPES]
        simple += [f"{with_article(colour)} background" for colour in COLOURS]
        simple += [shape_phrase(colour, shape) for colour in COLOURS for shape in SHAPES]
        self._always = [self._index[phrase] for phrase in simple]

    def chosen(self, subjects: Sequence[Subject], extra: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
        """Return which phrases to compare the subjects' pictures with, and the truth of each for each picture.

        The chosen are all true phrases of the subjects, near misses, the simplest phrases, and about extra
        random ones, half of them never true. Returns indices (K,) into phrases and a (len(subjects), K) matrix of
        TRUE, FALSE and UNCLEAR.
        """
        wanted: dict[str, None] = {}
        for subject in subjects:
            wanted.update(dict.fromkeys(_cached_phrases(subject)[0]))
            wanted.update(dict.fromkeys(near_misses(subject, rng)))
        numbers = {self._index[phrase] for phrase in wanted if phrase in self._index}
        numbers.update(self._always)
        numbers.update(rng.integers(0, self._drawable, extra // 2).tolist())
        numbers.update((self._drawable + rng.integers(0, self._foreign, extra // 2)).tolist())
        chosen = np.array(sorted(numbers))
        column = {self.phrases[number]: place for place, number in enumerate(chosen.tolist())}
        truth = np.full((len(subjects), len(chosen)), FALSE)
        for row, subject in enumerate(subjects):
            true, unclear = _cached_phrases(subject)
            truth[row, [column[phrase] for phrase in unclear if phrase in column]] = UNCLEAR
            truth[row, [column[phrase] for phrase in true if phrase in column]] = TRUE
        return chosen, truth
