"""Reconciliation queries -> candidates: the pictures are read, and the lists ranked, as POST /v1/gaze does."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import structlog
from numpy.typing import NDArray

from service.api.images import ImageServices, LoadedImage, RequestImages
from service.api.query import ImageSource, ResolvedImage
from service.api.reconcile.batch import Query, ReconciliationCandidate, ReconciliationFeature, ReconciliationType
from service.api.reconcile.terms import term_id
from service.api.request_context import RequestContext
from service.errors import CallerGone, GazeError, Overloaded
from service.images.decode import MIN_SHORT_SIDES
from service.images.fetch.fetcher import FETCH_SECONDS
from service.zero_shot.classifier import EncodedList, ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList
from service.zero_shot.ranking import Prediction, Ranker, RankOptions

log = structlog.get_logger()


class Batch:
    """One query batch's way from pictures to candidates.

    served: the names of the lists that may be asked for, the default first
    """

    def __init__(
        self, classifier: ZeroShotClassifier, served: Collection[str], services: ImageServices, context: RequestContext
    ) -> None:
        self._classifier = classifier
        self._served = served
        self._context = context
        self._loader = RequestImages(services, context, classifier.model.image_size)

    def candidates(self, queries: Sequence[Query]) -> list[list[ReconciliationCandidate]]:
        """Return the candidates for each query, best first: none for a picture that cannot be had, or an unknown list.

        A picture that several queries ask of is fetched once.
        Raises Overloaded where this service was too busy to read one; and CallerGone.
        """
        lists = [self._lists(query) for query in queries]
        wanted = [named if query.limit else () for query, named in zip(queries, lists, strict=True)]
        features = self._features(query.image for query, named in zip(queries, wanted, strict=True) if named)
        with self._context.stage("rank"):
            return [
                self._ranked(features[query.image], named, query.limit) if named and query.image in features else []
                for query, named in zip(queries, wanted, strict=True)
            ]

    def _lists(self, query: Query) -> tuple[EncodedList, ...]:
        asked = query.types or tuple(self._served)[:1]
        return self._classifier.lists_named([name for name in asked if name in self._served])

    def _features(self, images: Iterable[str | None]) -> Mapping[str | None, NDArray[np.float32]]:
        """Return the unit features [feature_size] of those images that can be had."""
        side = MIN_SHORT_SIDES * self._classifier.model.image_size
        asked = list(dict.fromkeys(filter(None, images)))
        read: dict[str, LoadedImage | GazeError] = {}
        for place, image in enumerate(asked):
            # So that slow hosts leave the others their share.
            seconds = min(FETCH_SECONDS, max(1.0, self._context.deadline.at - time.monotonic()) / (len(asked) - place))
            source = ResolvedImage(_source(image))
            read[image] = self._loader.load(source, self._classifier.preprocess, side, seconds=seconds)
        pictures = {image: picture for image, picture in read.items() if isinstance(picture, LoadedImage)}
        failures = [picture for picture in read.values() if isinstance(picture, GazeError)]
        self._context.images = len(read)
        if failures:
            codes = Counter(failure.code for failure in failures)
            log.info("unread", request_id=self._context.request_id, images=dict(codes))
        for failure in failures:
            # No candidates would say that nothing fits.
            if isinstance(failure, (Overloaded, CallerGone)):
                raise failure
        if not pictures:
            return {}
        with self._context.stage("encode"):
            features = self._classifier.encode_images(
                [picture.inputs for picture in pictures.values()], self._context.late_deadline.check
            )
        self._context.image_outcomes.update((picture.info.source, "ranked") for picture in pictures.values())
        return dict(zip(pictures, features, strict=True))

    def _ranked(
        self, features: NDArray[np.float32], lists: Sequence[EncodedList], limit: int
    ) -> list[ReconciliationCandidate]:
        """Return the most probable terms of each list, list by list in the order asked for, each term once.

        Probabilities of different lists cannot be compared: the lists take turns until there are enough.
        """
        # Three times as many, because two spellings may be one term, and other lists have it, too.
        ranker = Ranker(self._classifier, RankOptions(top_k=3 * limit))
        rankings: list[tuple[PhraseList, Iterator[Prediction]]] = []
        for encoded in lists:
            own = encoded.phrase_list
            self._context.ranked_phrases += len(own.labels)
            self._context.phrases = self._context.ranked_phrases
            rankings.append((own, iter(ranker.rank(features, encoded).predictions)))
        found: dict[str, tuple[PhraseList, Prediction]] = {}
        waiting = rankings
        while waiting and len(found) < limit:
            waiting = [each for each in waiting if len(found) >= limit or _take_next(*each, found)]
        of_list = ((own, identifier, took) for own, _ in rankings for identifier, took in found.items())
        return [self._candidate(identifier, took[1], own) for own, identifier, took in of_list if took[0] is own]

    def _candidate(self, identifier: str, prediction: Prediction, own: PhraseList) -> ReconciliationCandidate:
        return ReconciliationCandidate(
            id=identifier,
            name=prediction.label,
            description=f"Suggested by a machine, {self._classifier.model.id}: "
            f"place {prediction.rank} of {len(own.labels)} in {own.title}. Nobody has checked it.",
            score=100 * prediction.probability,
            match=False,
            type=[ReconciliationType.of(own)],
            features=[
                ReconciliationFeature(id="probability", name="Probability in its list", value=prediction.probability),
                ReconciliationFeature(
                    id="similarity", name="Cosine of picture and phrase", value=prediction.similarity
                ),
            ],
        )


def _take_next(own: PhraseList, ranked: Iterator[Prediction], found: dict[str, tuple[PhraseList, Prediction]]) -> bool:
    """Add a list's most probable term that is not found yet; say whether there was one."""
    for prediction in ranked:
        identifier = term_id(own.name, prediction.label, prediction.uri)
        if identifier not in found:
            found[identifier] = own, prediction
            return True
    return False


def _source(image: str) -> ImageSource:
    if image[:5].lower() == "data:":
        return ImageSource("base64", None, image)
    return ImageSource("iiif" if image.endswith("/info.json") else "url", None, image)
