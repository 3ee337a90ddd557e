"""Plan: what a job computes for every picture, and the engine that computes it on this machine."""

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
"""Most IIIF manifests and collections that one job reads."""


IIIF_SECONDS = 120.0
"""Limit for one picture of a IIIF server, with all failed requests and pauses."""

DECODE_SECONDS = 120.0
"""Limit for decoding one picture: passes of the model have priority, and no client waits."""


@dataclass(frozen=True)
class Plan:
    """What to compute, with which settings; picklable.

    list_names: of served lists; phrases: one's own, which are a list as well
    limits:     of one picture
    """

    settings: Settings
    list_names: tuple[str, ...]
    phrases: tuple[str, ...]
    top_k: int
    min_probability: float
    limits: ImageLimits

    def lists(self) -> tuple[PhraseList, ...]:
        """Return the lists to rank. Raises InvalidList and UnknownList."""
        served = served_lists(self.settings)
        for name in self.list_names:
            require_list(served, name)
        own = (own_list(OWN_LIST, self.phrases, "{}"),) if self.phrases else ()
        return (*(served[name] for name in self.list_names), *own)

    def model_files(self) -> ModelFiles:
        """Return the model's files, downloaded if necessary. Raises StartError."""
        return model_files.fetch(self.settings.model, self.settings.revision)

    def facts(self, lists: tuple[PhraseList, ...], files: ModelFiles) -> dict[str, Any]:
        """Return all that answers depend on besides the picture, by names that a person understands."""
        return {
            "model": [files.model_id, files.revision],
            "lists": [[one.name, one.hash] for one in lists],
            "--top-k": self.top_k,
            "--min-probability": self.min_probability,
            "limits": [self.limits.max_bytes, self.limits.max_pixels],
            "GAZE_DECODE": self.settings.decode,
        }

    def fetcher(self) -> RetryingFetcher:
        """Return a fetcher of pictures and documents, as the settings allow."""
        return RetryingFetcher(self.settings.fetch_policy, FetchLimits(self.limits.max_bytes, FETCH_SECONDS))

    def iiif(self, documents: int = sys.maxsize) -> IiifReader:
        """Return a reader of so many IIIF documents; each is bounded, their sum is not."""
        return IiifReader(self.fetcher(), IiifBudget(documents, sys.maxsize, sys.maxsize))

    def engine(self, files: ModelFiles, lists: tuple[PhraseList, ...], cores: int) -> "ReadyEngine":
        """Load the model, encode the lists, and return an engine on so many cores. Raises StartError."""
        served = {one.name: one for one in lists if one.name != OWN_LIST}
        classifier = load_classifier(self.settings, files, served)
        own = classifier.encode_lists([one for one in lists if one.name == OWN_LIST])
        encoded = (*classifier.lists_named(served), *own)
        model = classifier.model
        iiif = self.iiif()
        # One more than cores, so that all cores can work on pictures that need a process of their own.
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
    """An engine, the model that it runs, and warnings about its answers."""

    local: LocalEngine
    model: ModelDescription
    warnings: tuple[str, ...]
