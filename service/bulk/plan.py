"""Plan: what is to be found for every picture of a job, and the engine that finds it on this machine."""

import sys
import time
from dataclasses import dataclass
from typing import Any

from service.bulk.local import LocalEngine
from service.bulk.rankings import RankingPacker
from service.bulk.reading import ItemReader, RetryingFetcher
from service.composition import load_classifier, served_lists
from service.iiif.document import IiifBudget
from service.iiif.reader import IiifReader
from service.images.decode import MIN_SHORT_SIDES, ImageLimits
from service.images.fetch.fetcher import FETCH_SECONDS, FetchLimits
from service.images.isolation.decoder import Decoder
from service.images.loader import ImageLoader
from service.settings import Settings
from service.zero_shot import model_files
from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.classifier import require_list
from service.zero_shot.model_files import ModelFiles
from service.zero_shot.phrase_lists import OWN_LIST, PhraseList, own_list
from service.zero_shot.ranking import caveats

MOST_DOCUMENTS = 1_000_000
"""IIIF manifests and collections that the sources of one job may lead to."""


IIIF_SECONDS = 120.0
"""How long one picture of a IIIF server may take, with all that is asked for in vain and every pause."""

DECODE_SECONDS = 120.0
"""How long one picture may take to decode: passes go first on all cores, and nobody waits for an answer."""


@dataclass(frozen=True)
class Plan:
    """What is to be found, and with which settings; can be sent to another machine.

    list_names: of served lists; phrases: of one's own, which are a list as well
    limits:     of one picture
    """

    settings: Settings
    list_names: tuple[str, ...]
    phrases: tuple[str, ...]
    top_k: int
    min_probability: float
    limits: ImageLimits

    def lists(self) -> tuple[PhraseList, ...]:
        """Return the lists that are ranked. Raises InvalidList and UnknownList."""
        served = served_lists(self.settings)
        for name in self.list_names:
            require_list(served, name)
        own = (own_list(OWN_LIST, self.phrases, "{}"),) if self.phrases else ()
        return (*(served[name] for name in self.list_names), *own)

    def model_files(self) -> ModelFiles:
        """Return the model's files, fetched if they are not here. Raises StartError."""
        return model_files.fetch(self.settings.model, self.settings.revision)

    def facts(self, lists: tuple[PhraseList, ...], files: ModelFiles) -> dict[str, Any]:
        """Return all that an answer depends on but the picture, by names that a person understands."""
        return {
            "model": [files.model_id, files.revision],
            "lists": [[one.name, one.hash] for one in lists],
            "--top-k": self.top_k,
            "--min-probability": self.min_probability,
            "limits": [self.limits.max_bytes, self.limits.max_pixels],
            "GAZE_DECODE": self.settings.decode,
        }

    def fetcher(self) -> RetryingFetcher:
        """Return what fetches pictures and documents as the settings allow."""
        return RetryingFetcher(self.settings.fetch_policy, FetchLimits(self.limits.max_bytes, FETCH_SECONDS))

    def iiif(self, documents: int = sys.maxsize) -> IiifReader:
        """Return what reads so many IIIF documents in all; each of them is bounded, and not their sum."""
        return IiifReader(self.fetcher(), IiifBudget(documents, sys.maxsize, sys.maxsize))

    def engine(self, files: ModelFiles, lists: tuple[PhraseList, ...], cores: int) -> "ReadyEngine":
        """Load the model, encode the lists, and return what looks at pictures on so many cores. Raises StartError."""
        served = {one.name: one for one in lists if one.name != OWN_LIST}
        classifier = load_classifier(self.settings, files, served)
        own = classifier.encode_lists([one for one in lists if one.name == OWN_LIST])
        encoded = (*classifier.lists_named(served), *own)
        model = classifier.model
        iiif = self.iiif()
        # One more than cores, so that all cores may be at work on pictures that need a process of their own.
        decoder = Decoder(self.limits, cores + 1, DECODE_SECONDS)
        reader = ItemReader(
            ImageLoader(self.fetcher(), decoder, fast=self.settings.decode == "fast"),
            lambda uri: iiif.fetch_image(uri, model.image_size, time.monotonic() + IIIF_SECONDS),
            MIN_SHORT_SIDES * model.image_size,
        )
        ranking = RankingPacker(classifier, encoded, self.top_k, self.min_probability)
        warnings = tuple(caveats(model, encoded))
        return ReadyEngine(LocalEngine(reader, classifier, ranking, cores), model, warnings)


@dataclass(frozen=True)
class ReadyEngine:
    """An engine, the model that it runs, and what a person should know of its answers."""

    local: LocalEngine
    model: ModelDescription
    warnings: tuple[str, ...]
