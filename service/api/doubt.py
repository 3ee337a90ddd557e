"""What an answer says of one list for one picture: its ranking, and, where it is asked for, how far to trust it."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.api.query import GazeQuery
from service.api.schemas import responses
from service.zero_shot.classifier import EncodedList, Scores, ZeroShotClassifier, highest_first, predictions
from service.zero_shot.features import Require, TextFeatures
from service.zero_shot.interpretation.certainty import NEAR_TIE_SIMILARITY, certainty
from service.zero_shot.interpretation.lift import NONE_OF_THESE_BELOW
from service.zero_shot.interpretation.stability import MAX_PHRASES, TEMPLATES, Spread, spreads
from service.zero_shot.phrase_lists import own_list

Features = NDArray[np.float32]


class Ranker:
    """Ranks lists for the pictures of one request, in the way that it asks for.

    Raises Overloaded, and what `require` does, where neutral pictures have to be encoded first.
    """

    def __init__(self, classifier: ZeroShotClassifier, query: GazeQuery, require: Require) -> None:
        self._classifier = classifier
        self._query = query
        self._require = require
        wants_neutral = query.rank_by == "lift" or not query.include.isdisjoint(("lift", "none_of_these"))
        self._neutral = classifier.neutral(require) if wants_neutral else None

    def ranked(self, views: Mapping[str, Features], encoded: EncodedList) -> responses.RankedList:
        """Return a list's ranking for a picture; raises as the constructor does.

        views: the unit features [feature_size] of the picture's views by name, the one that is ranked by first
        """
        first = next(iter(views.values()))
        scores = self._classifier.scores(first, encoded)
        neutral = self._neutral_scores(encoded)
        lifts = self._lifts(first, scores, neutral)
        ranked_by = lifts if lifts is not None and self._query.rank_by == "lift" else scores.logits
        probable = np.flatnonzero(scores.probabilities >= self._query.min_probability)
        order = probable[highest_first(ranked_by[probable], self._query.top_k)]
        ranked = responses.RankedList(
            count=len(encoded.phrase_list.labels),
            hash=encoded.phrase_list.hash,
            predictions=[
                responses.RankedPhrase(**vars(prediction)) for prediction in predictions(scores, encoded, order)
            ],
        )
        if lifts is not None:
            for phrase, lift in zip(ranked.predictions, lifts[order], strict=True):
                phrase.lift = float(lift)
        if "certainty" in self._query.include:
            _add_certainty(ranked, scores, order)
        if "none_of_these" in self._query.include and self._neutral:
            of_neutral = np.stack([each.similarities for each in neutral])
            evidence = self._neutral.evidence(scores.similarities, of_neutral)
            ranked.none_of_these = responses.Verdict(
                verdict=evidence < NONE_OF_THESE_BELOW, evidence=evidence, threshold=NONE_OF_THESE_BELOW
            )
        if "stability" in self._query.include:
            told = highest_first(ranked_by, MAX_PHRASES)
            self._add_stability(ranked, views, encoded, told, order)
        return ranked

    def _neutral_scores(self, encoded: EncodedList) -> list[Scores]:
        features = self._neutral.features if self._neutral else ()
        return [self._classifier.scores(each, encoded) for each in features]

    def _lifts(self, image_features: Features, scores: Scores, neutral: list[Scores]) -> NDArray[np.float64] | None:
        if self._neutral is None or not (self._query.rank_by == "lift" or "lift" in self._query.include):
            return None
        of_neutral = np.stack([each.log_probabilities for each in neutral])
        return self._neutral.lifts(image_features, scores.log_probabilities, of_neutral)

    def _add_stability(
        self,
        ranked: responses.RankedList,
        views: Mapping[str, Features],
        encoded: EncodedList,
        told: NDArray[np.intp],
        order: NDArray[np.intp],
    ) -> None:
        """Add what is known of the phrases at the places `told` to a ranking of those at the places `order`."""
        seen = {name: self._classifier.scores(features, encoded) for name, features in views.items()}
        asked = self._in_templates(next(iter(views.values())), encoded, told)
        labels = encoded.phrase_list.labels
        ranked.stability = responses.ListStability(
            views={name: _first(scores, labels) for name, scores in seen.items()},
            templates={name: _first(scores, [labels[index] for index in told]) for name, scores in asked.items()},
            edges_matter=_edges_matter(seen["crop"], seen["pad"]),
        )
        of_pictures = spreads(list(seen.values()), told)
        of_templates = spreads(list(asked.values()), np.arange(len(told)))
        of_place = dict(zip(told.tolist(), zip(of_pictures, of_templates, strict=True), strict=True))
        for phrase, place in zip(ranked.predictions, order.tolist(), strict=True):
            if place in of_place:
                pictures, templates = of_place[place]
                phrase.stability = responses.PhraseStability(pictures=_spread(pictures), templates=_spread(templates))

    def _in_templates(
        self, image_features: Features, encoded: EncodedList, told: NDArray[np.intp]
    ) -> dict[str, Scores]:
        """Return how some phrases of a list fare against each other, in the list's own words and in other templates."""
        own = encoded.phrase_list
        phrases = tuple(own.phrases[index] for index in told)
        templates = [template for template in TEMPLATES if template != own.template]
        other = self._classifier.encode_lists(
            [own_list(own.name, phrases, template) for template in templates], require=self._require
        )
        text_features = encoded.text_features
        as_asked = EncodedList(
            own_list(own.name, phrases, "{}"), TextFeatures(text_features.features, text_features.row_of[told], ())
        )
        named = zip((own.template, *templates), (as_asked, *other), strict=True)
        return {template: self._classifier.scores(image_features, each) for template, each in named}


def _add_certainty(ranked: responses.RankedList, scores: Scores, order: NDArray[np.intp]) -> None:
    found = certainty(scores.similarities, scores.probabilities)
    ranked.certainty = responses.Certainty(
        entropy=found.entropy,
        effective_count=found.effective_count,
        margin=found.margin,
        near_tie_similarity=NEAR_TIE_SIMILARITY,
    )
    for phrase, group in zip(ranked.predictions, found.group_of[order], strict=True):
        phrase.near_tie_group = int(group)


def _first(scores: Scores, labels: "tuple[str, ...] | list[str]") -> responses.First:
    index = int(scores.logits.argmax())
    return responses.First(label=labels[index], probability=float(scores.probabilities[index]))


def _edges_matter(crop: Scores, pad: Scores) -> bool:
    """Say whether another phrase comes first with all of the picture in view, and by more than a near tie."""
    ahead = pad.similarities.max() - pad.similarities[int(crop.logits.argmax())]
    return bool(ahead >= NEAR_TIE_SIMILARITY)


def _spread(found: Spread) -> responses.Spread:
    return responses.Spread(
        rank=responses.RankSpread(lowest=found.ranks[0], highest=found.ranks[1]),
        probability=responses.ProbabilitySpread(lowest=found.probabilities[0], highest=found.probabilities[1]),
    )
