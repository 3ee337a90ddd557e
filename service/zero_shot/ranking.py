"""Ranking: one list and one picture -> the list's phrases, best first, and on request how far to trust them.

The zero-shot classifier of CLIP (Radford et al. 2021, section 3.1): a list of phrases is a matrix of unit text
features; an image's features times that matrix, times the logit scale, are the logits of a softmax over the list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.batching import CancelCheck, never_cancelled
from service.zero_shot.classifier import EncodedList, ZeroShotClassifier
from service.zero_shot.interpretation.certainty import NEAR_TIE_SIMILARITY, Certainty, certainty
from service.zero_shot.interpretation.lift import NONE_OF_THESE_BELOW
from service.zero_shot.interpretation.stability import MAX_PHRASES, TEMPLATES, PhraseStability, Spread, spreads
from service.zero_shot.phrase_lists import PhraseList, own_list
from service.zero_shot.text_features import TextFeatures

Features = NDArray[np.float32]
ViewFeatures = Features | Mapping[str, Features]
"""The unit features [feature_size] of a picture, or of its views by name, the one to rank by first."""

Included = Literal["certainty", "lift", "stability", "none_of_these"]
RankBy = Literal["probability", "lift"]

DEMO = (
    "The demo model answered. It knows only shapes, colours and patterns that a program drew, and is of no use for "
    "cataloguing."
)


@dataclass(frozen=True)
class RankOptions:
    """How a list is ranked, how many phrases are returned, and with what.

    top_k: None for all
    """

    top_k: int | None = None
    min_probability: float = 0.0
    rank_by: RankBy = "probability"
    include: frozenset[Included] = frozenset()


@dataclass(frozen=True)
class Scores:
    """The scores of a list's phrases for one image; each [count], in the order of the list."""

    similarities: NDArray[np.float32]
    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    @property
    def log_probabilities(self) -> NDArray[np.float64]:
        """The logarithms of the probabilities, also of those that underflow."""
        below = self.logits - self.logits.max()
        return np.asarray(below - np.log(np.exp(below).sum()))


@dataclass(frozen=True)
class Prediction:
    """One phrase of a ranking; `probability` is relative to its list, `similarity` is a cosine.

    lift, near_tie_group, stability: None unless requested
    """

    rank: int
    label: str
    phrase: str
    probability: float
    similarity: float
    uri: str | None
    lift: float | None = None
    near_tie_group: int | None = None
    stability: PhraseStability | None = None


@dataclass(frozen=True)
class First:
    """The first phrase of a ranking."""

    label: str
    probability: float


@dataclass(frozen=True)
class Stability:
    """What comes first in other views of the picture, and with other templates of the list.

    edges_matter: whether another phrase comes first, by more than a near tie, if all of the picture is in view
    """

    views: dict[str, First]
    templates: dict[str, First]
    edges_matter: bool


@dataclass(frozen=True)
class Verdict:
    """Whether a picture shows nothing of a list: whether the evidence that it does is below a threshold."""

    verdict: bool
    evidence: float
    threshold: float


@dataclass(frozen=True)
class Ranking:
    """The first phrases of one list, and what was requested besides."""

    phrase_list: PhraseList
    predictions: tuple[Prediction, ...]
    certainty: Certainty | None = None
    none_of_these: Verdict | None = None
    stability: Stability | None = None


class Ranker:
    """Ranks lists for the pictures of one request or one job.

    Raises Overloaded, and what `check` raises, if neutral pictures or phrases have to be encoded first.
    """

    def __init__(
        self, classifier: ZeroShotClassifier, options: RankOptions | None = None, check: CancelCheck = never_cancelled
    ) -> None:
        self._classifier = classifier
        self._options = options or RankOptions()
        self._check = check
        wants_neutral = self._options.rank_by == "lift" or not self._options.include.isdisjoint(
            ("lift", "none_of_these")
        )
        self._neutral = classifier.neutral(check) if wants_neutral else None

    def rank(self, views: ViewFeatures, encoded: EncodedList) -> Ranking:
        """Return a list's ranking for a picture: best first, ties in list order; raises as the constructor does.

        The softmax is over all phrases of the list, before it is cut to `top_k`.
        views: the unit features [feature_size] of the picture, or of its views by name, the one to rank by first
        """
        options = self._options
        views = views if isinstance(views, Mapping) else {"own": views}
        first = next(iter(views.values()))
        scores = self.scores(first, encoded)
        neutral = [self.scores(each, encoded) for each in self._neutral.features] if self._neutral else []
        lifts = self._lifts(first, scores, neutral)
        # Of the logits, not of the probabilities: those may be equal only because they are tiny.
        ranked_by = lifts if lifts is not None and options.rank_by == "lift" else scores.logits
        order = self.order(scores, ranked_by)
        found = certainty(scores.similarities, scores.probabilities) if "certainty" in options.include else None
        stability, stability_of = None, dict[int, PhraseStability]()
        if "stability" in options.include:
            stability, stability_of = self._stability(views, encoded, highest_first(ranked_by, MAX_PHRASES))
        phrases = encoded.phrase_list
        predictions = tuple(
            Prediction(
                rank=rank,
                label=phrases.labels[index],
                phrase=phrases.phrases[index],
                probability=float(scores.probabilities[index]),
                similarity=float(scores.similarities[index]),
                uri=phrases.uris[index],
                lift=None if lifts is None else float(lifts[index]),
                near_tie_group=None if found is None else int(found.group_of[index]),
                stability=stability_of.get(index),
            )
            for rank, index in enumerate(order.tolist(), start=1)
        )
        return Ranking(
            encoded.phrase_list,
            predictions,
            found,
            self._verdict(scores, neutral) if "none_of_these" in options.include else None,
            stability,
        )

    def scores(self, image_features: Features, encoded: EncodedList) -> Scores:
        """Return the scores of a list's phrases for an image with these unit features [feature_size]."""
        model = self._classifier.model
        similarities = cosines(image_features, encoded.text_features)
        logits = model.logit_scale * similarities.astype(np.float64) + model.logit_bias
        return Scores(similarities, logits, _softmax(logits))

    def order(self, scores: Scores, ranked_by: NDArray[np.float64] | None = None) -> NDArray[np.intp]:
        """Return the indices of the phrases to return, best first.

        ranked_by: [count], what to sort by; by default the logits
        """
        ranked_by = scores.logits if ranked_by is None else ranked_by
        probable = np.flatnonzero(scores.probabilities >= self._options.min_probability)
        return probable[highest_first(ranked_by[probable], self._options.top_k)]

    def _lifts(self, image_features: Features, of_image: Scores, neutral: list[Scores]) -> NDArray[np.float64] | None:
        if self._neutral is None or not (self._options.rank_by == "lift" or "lift" in self._options.include):
            return None
        of_neutral = np.stack([each.log_probabilities for each in neutral])
        return self._neutral.lifts(image_features, of_image.log_probabilities, of_neutral)

    def _verdict(self, of_image: Scores, neutral: list[Scores]) -> Verdict | None:
        if self._neutral is None:
            return None
        of_neutral = np.stack([each.similarities for each in neutral])
        evidence = self._neutral.evidence(of_image.similarities, of_neutral)
        return Verdict(evidence < NONE_OF_THESE_BELOW, evidence, NONE_OF_THESE_BELOW)

    def _stability(
        self, views: Mapping[str, Features], encoded: EncodedList, told: NDArray[np.intp]
    ) -> tuple[Stability, dict[int, PhraseStability]]:
        """Return the stability of the list, and of its phrases at the indices `told`."""
        seen = {name: self.scores(features, encoded) for name, features in views.items()}
        asked = self._in_templates(next(iter(views.values())), encoded, told)
        labels = encoded.phrase_list.labels
        of_list = Stability(
            views={name: _first(each, labels) for name, each in seen.items()},
            templates={name: _first(each, [labels[index] for index in told]) for name, each in asked.items()},
            edges_matter=_edges_matter(seen["crop"], seen["pad"]),
        )
        of_pictures = _spreads(list(seen.values()), told)
        of_templates = _spreads(list(asked.values()), np.arange(len(told)))
        of_phrase = map(PhraseStability, of_pictures, of_templates)
        return of_list, dict(zip(told.tolist(), of_phrase, strict=True))

    def _in_templates(
        self, image_features: Features, encoded: EncodedList, told: NDArray[np.intp]
    ) -> dict[str, Scores]:
        """Return the scores of some phrases among each other, in the list's own template and in others."""
        own = encoded.phrase_list
        phrases = tuple(own.phrases[index] for index in told)
        templates = [template for template in TEMPLATES if template != own.template]
        other = self._classifier.encode_lists(
            [own_list(own.name, phrases, template) for template in templates], check=self._check
        )
        text_features = encoded.text_features
        as_asked = EncodedList(
            own_list(own.name, phrases, "{}"), TextFeatures(text_features.features, text_features.row_of[told], ())
        )
        named = zip((own.template, *templates), (as_asked, *other), strict=True)
        return {template: self.scores(image_features, each) for template, each in named}


def cosines(image_features: Features, text_features: TextFeatures) -> NDArray[np.float32]:
    """Return the cosine [n] of one image's unit features [feature_size] and each phrase's."""
    similarities: NDArray[np.float32] = (text_features.features @ image_features)[text_features.row_of]
    return similarities


def highest_first(values: NDArray[np.float64], top_k: int | None) -> NDArray[np.intp]:
    """Return the indices of the highest values, ties in list order, without sorting all of a long list."""
    if top_k is None or top_k >= values.size:
        return np.argsort(-values, kind="stable")
    lowest = np.partition(values, values.size - top_k)[values.size - top_k]
    candidates = np.flatnonzero(values >= lowest)  # more than top_k if some equal the lowest
    return candidates[np.argsort(-values[candidates], kind="stable")][:top_k]


def caveats(model: ModelDescription, lists: Sequence[EncodedList], *, ranked: bool = True) -> list[str]:
    """Return a sentence for each reason to distrust what this model says of these lists.

    ranked: whether they are ranked
    """
    sentences = [DEMO] if model.demo else []
    for encoded in lists:
        name = encoded.phrase_list.name
        if cut := len(encoded.text_features.cut):
            phrases = "1 phrase" if cut == 1 else f"{cut} phrases"
            sentences.append(f"The model reads {model.max_tokens} tokens of a phrase; {phrases} of '{name}' had more.")
        if ranked and len(encoded.phrase_list.labels) == 1:
            sentences.append(f"The list '{name}' has one phrase, so its probability is 1 whatever the image shows.")
    return sentences


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max())
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum()
    return probabilities


def _first(scores: Scores, labels: Sequence[str]) -> First:
    index = int(scores.logits.argmax())
    return First(labels[index], float(scores.probabilities[index]))


def _edges_matter(crop: Scores, pad: Scores) -> bool:
    """Return whether another phrase comes first, by more than a near tie, if all of the picture is in view."""
    ahead = pad.similarities.max() - pad.similarities[int(crop.logits.argmax())]
    return bool(ahead >= NEAR_TIE_SIMILARITY)


def _spreads(scores: Sequence[Scores], phrases: NDArray[np.intp]) -> list[Spread]:
    probabilities, logits = [each.probabilities for each in scores], [each.logits for each in scores]
    return spreads(np.stack(probabilities), np.stack(logits), phrases)
