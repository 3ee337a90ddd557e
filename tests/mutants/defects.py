"""Sixty defects, each a change of one place that makes the service do something wrong, over all of its packages."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defect:
    """A defect to be planted.

    name: what is wrong then
    file: below service/, where `old` stood when this was written; if it has moved, it is looked for everywhere
    old, new: a piece of the code that stands there once, and what takes its place
    tests: files of tests, without `test_` and `.py`, that know most of it, besides those that import the module
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()


_LIMITS = (
    Defect(
        "a request that has fetched takes no slot again",
        "limits/admission.py",
        "self._count.own += 1  # what was fetched",
        "pass  # what was fetched",
    ),
    Defect(
        "newcomers overtake those who wait for a slot",
        "limits/admission.py",
        "if self._free >= slots and not self._waiting:",
        "if self._free >= slots:",
    ),
    Defect(
        "a quota of one core and a half counts as one",
        "limits/threads.py",
        "math.ceil(int(quota) / int(period))",
        "int(quota) // int(period)",
    ),
)

_PARSING = (
    Defect(
        "a backslash at a block's end escapes nothing",
        "parsing/json_extent.py",
        'escaped = block.endswith(b"\\\\")',
        "escaped = False",
    ),
)

_DOCUMENTS = (
    Defect(
        "a percent sign in a note is not encoded",
        "documents/naming.py",
        "_ENDS_A_VALUE = f'%;|",
        "_ENDS_A_VALUE = f';|",
        ("tables", "annotation_page", "round_trip"),
    ),
    Defect(
        "a cell that is a formula after an apostrophe is not guarded",
        "documents/tables.py",
        """re.compile(r"'*[=+""",
        """re.compile(r"[=+""",
    ),
    Defect(
        "numbers in documents have four digits",
        "documents/naming.py",
        "return repr(float(value)) if isinstance",
        'return f"{value:.4f}" if isinstance',
        ("tables", "annotation_page"),
    ),
)

_IIIF = (
    Defect(
        "tiles are taken of the largest picture that serves",
        "iiif/image_api.py",
        "(grid.factor if not serving else -grid.factor, grid.count)",
        "(grid.factor, grid.count)",
    ),
    Defect(
        "all tiles of a picture together may have any number of bytes",
        "iiif/reader.py",
        "left = max(1, left - len(encoded))",
        "left = max(1, left)",
    ),
    Defect(
        "one IIIF document more is read than a request may cost",
        "iiif/document.py",
        "if self.documents <= 0:",
        "if self.documents < 0:",
    ),
)

_FETCH = (
    Defect(
        "a host is asked if one of its addresses is allowed",
        "images/fetch/fetcher.py",
        "if not all(self._policy.allows(",
        "if not any(self._policy.allows(",
        ("addresses", "fetch_refusals"),
    ),
    Defect(
        "an IPv4 address in the last quarter of an IPv6 one is not looked at",
        "images/fetch/addresses.py",
        "return (address, last_quarter, *six_to_four",
        "return (address, *six_to_four",
    ),
    Defect(
        "what is unpacked of an answer has no limit",
        "images/fetch/fetcher.py",
        "decode_content=True):\n        size += len(block)",
        "decode_content=True):\n        size = len(block)",
        ("fetch_refusals", "fetch"),
    ),
    Defect(
        "any certificate is good enough",
        "images/fetch/fetcher.py",
        "ssl.create_default_context()",
        "ssl._create_unverified_context()",
        ("fetch_tls",),
    ),
)

_IMAGES = (
    Defect(
        "bands of a picture turned by 90 degrees are read from the wrong side",
        "images/picture.py",
        "for orientation in (2, 3, 7, 8))",
        "for orientation in (2, 3, 6, 8))",
    ),
    Defect(
        "mid-grey of which one channel is 128 is not doubted at a JPEG's end",
        "images/decoders/jpeg.py",
        "_FILLED_UP = frozenset((127, 128))",
        "_FILLED_UP = frozenset((127,))",
        ("decode_refusals", "decode"),
    ),
    Defect(
        "a BMP's profile is looked for from the file's begin, not from its header's",
        "images/decoders/bmp.py",
        "encoded[14 + start : 14 + start + length]",
        "encoded[start : start + length]",
        ("pixels",),
    ),
    Defect(
        "tiles of a TIFF are counted down, not across",
        "images/decoders/tiff/segments.py",
        "top, left = number // self._across * height, number % self._across * width",
        "top, left = number % self._down * height, number // self._down * width",
        ("tiff", "tiff_bounds"),
    ),
    Defect(
        "a JPEG 2000 is not reduced to just as many pixels as serve",
        "images/decoders/jpeg2000.py",
        "if min(width, height) < min_short_side:",
        "if min(width, height) <= min_short_side:",
    ),
    Defect(
        "a JPEG with two profiles is decoded in the process that answers",
        "images/decoders/jpeg.py",
        "if profiles > 1 or not colour.is_plain(",
        "if not colour.is_plain(",
        ("ordinary",),
    ),
    Defect(
        "what a decoding process says may have samples that are no numbers",
        "images/isolation/process.py",
        "_require(bool(np.isfinite(values).all()))",
        "_require(bool(np.isfinite(values).any()))",
        ("hostile_decoder", "decoder"),
    ),
    Defect(
        "a tile may be two pixels wider than was asked for",
        "images/loader.py",
        "_TILE_TOLERANCE = 1",
        "_TILE_TOLERANCE = 2",
    ),
    Defect(
        "a decoding process that has spoken unasked is used again",
        "images/isolation/process.py",
        "self._process.poll() is None and self.frames.is_silent()",
        "self._process.poll() is None",
        ("hostile_decoder", "decoder"),
    ),
)

_ZERO_SHOT = (
    Defect(
        "a phrase exactly as probable as asked for is left out",
        "zero_shot/ranking.py",
        "scores.probabilities >= self._options.min_probability",
        "scores.probabilities > self._options.min_probability",
    ),
    Defect(
        "the middle is cut out a pixel further",
        "zero_shot/preprocessing/preparation.py",
        "left, top = (small.width - width) // 2, (small.height - height) // 2\n        return small.crop",
        "left, top = (small.width - width + 1) // 2, (small.height - height + 1) // 2\n        return small.crop",
        ("framing",),
    ),
    Defect(
        "high pictures are resized along the rows first, otherwise than Pillow does it",
        "zero_shot/preprocessing/preparation.py",
        "height - size[1] > 2 * (width - size[0])",
        "height - size[1] > 4 * (width - size[0])",
        ("resizing",),
    ),
    Defect(
        "a phrase of just as many tokens as the model reads is told as cut",
        "zero_shot/preprocessing/tokenizer.py",
        "if len(ids) > self.max_tokens",
        "if len(ids) >= self.max_tokens",
    ),
    Defect(
        "the phrases that are asked for most are forgotten first",
        "zero_shot/encoder.py",
        "self._phrases.move_to_end(phrase)",
        "self._phrases.move_to_end(phrase, last=False)",
        ("phrase_cache",),
    ),
    Defect(
        "text features of one precision are taken for those of another",
        "zero_shot/text_features.py",
        "model.device, model.precision, str(_FORMAT))",
        "model.device, str(_FORMAT))",
    ),
    Defect(
        "a converted model is taken that another release of OpenVINO made",
        "zero_shot/backends/openvino_cache.py",
        '("openvino", "torch", "transformers")',
        '("torch", "transformers")',
        ("openvino_cache",),
    ),
    Defect(
        "requests of several pictures get each other's features from one pass",
        "zero_shot/batching.py",
        "start += len(job.pictures)",
        "start += 1",
    ),
    Defect(
        "passes that failed long ago count as failing after one has succeeded",
        "zero_shot/batching.py",
        "self._failing_since = None\n                self._last_success",
        "self._last_success",
        ("inference_monitor", "batching_failures"),
    ),
    Defect(
        "two threads use the tokenizer at once",
        "zero_shot/preprocessing/tokenizer.py",
        "with self._lock:\n            token_ids = self._encode",
        "if self._lock:\n            token_ids = self._encode",
    ),
    Defect(
        "a model that was stuck now and then is ended although it is well",
        "zero_shot/classifier.py",
        "                polls = 0\n                continue",
        "                continue",
        ("watchdog",),
    ),
    Defect(
        "features that are no numbers pass for those of torch",
        "zero_shot/backends/openvino_cache.py",
        "if not cosine >= MIN_COSINE:",
        "if cosine < MIN_COSINE:",
        ("openvino_cache", "parity_check"),
    ),
)

_API = (
    Defect(
        "the client is the first address of X-Forwarded-For, which anybody can write there",
        "api/access/callers.py",
        "_of_hop(hops.pop())",
        "_of_hop(hops.pop(0))",
        ("clients",),
    ),
    Defect(
        "each of a subscriber's IPv6 addresses has a quota of its own",
        "api/access/callers.py",
        "address.packed[:8] if address",
        "address.packed if address",
        ("quota", "clients"),
    ),
    Defect(
        "a page of another site may have a batch ranked by GET",
        "api/access/browsers.py",
        "(not is_safe or is_costly) and",
        "not is_safe and",
        ("foreign_pages",),
    ),
    Defect(
        "a key is taken from any scheme of Authorization",
        "api/access/callers.py",
        'if scheme.lower() == "bearer" and any(matches)',
        "if any(matches)",
        ("keys",),
    ),
    Defect(
        "own lists may each have as many phrases as all may have together",
        "api/query.py",
        "sum(len(own.labels) for own in query.own_lists) > limits.max_phrases",
        "max((len(own.labels) for own in query.own_lists), default=0) > limits.max_phrases",
        ("query", "gaze"),
    ),
    Defect(
        "a term that two spellings have takes up two candidates",
        "api/reconcile/candidates.py",
        "RankOptions(top_k=3 * limit)",
        "RankOptions(top_k=limit)",
        ("reconcile",),
    ),
    Defect(
        "counts of a worker that has ended take the place of those of the one before",
        "api/metric_files.py",
        "whole.read_value(key)[0] + value",
        "value",
        ("metric_files", "metrics"),
    ),
    Defect(
        "a worker's metrics are forgotten while they are read",
        "api/metric_files.py",
        "fcntl.flock(lock, fcntl.LOCK_SH)",
        "pass",
    ),
    Defect(
        "a cache may give an allowed page the answer without permission",
        "api/access/browsers.py",
        "if origin in self.origins else varying",
        "if origin in self.origins else {}",
        ("cors",),
    ),
    Defect(
        "a request that says no top_k gets ten phrases",
        "api/schemas/requests.py",
        "DEFAULT_TOP_K = 5",
        "DEFAULT_TOP_K = 10",
        ("gaze", "query"),
    ),
)

_SERVER = (
    Defect(
        "a head is not found to end where its last bytes come apart",
        "server/connection.py",
        "max(0, len(self._beginning) - len(_END_OF_HEAD) + 1)",
        "len(self._beginning)",
    ),
    Defect(
        "what is held of a request counts for ever",
        "server/worker.py",
        "self._held_bytes -= buffer.size",
        "pass",
    ),
    Defect(
        "a body must be here as soon as a head",
        "server/worker.py",
        "conn.expire(conn.started + self._request_seconds - time.monotonic())",
        "conn.expire(conn.started + HEAD_SECONDS - time.monotonic())",
    ),
    Defect(
        "a client may go on sending for ever after its last answer",
        "server/worker.py",
        "while left > 0 and (size :=",
        "while (size :=",
    ),
    Defect(
        "a worker that loads takes clients from those that are ready",
        "server/handover.py",
        "(self.state == LOADING and not self.ready)",
        "self.state == LOADING",
    ),
    Defect(
        "a rejection of HEAD has a body",
        "server/rejection.py",
        'has_body=asked[0] != "HEAD"',
        "has_body=True",
    ),
)

_BULK = (
    Defect(
        "a job goes on with other limits as if its pictures had been looked at with these",
        "bulk/plan.py",
        '            "limits": [self.limits.max_bytes, self.limits.max_pixels],\n',
        "",
        ("bulk_progress", "bulk_run"),
    ),
    Defect(
        "pictures are looked at again where a page of them ends",
        "bulk/progress.py",
        "last = page[-1][0]",
        "last = page[0][0]",
        ("bulk_progress",),
    ),
    Defect(
        "what a kill has left of an output keeps it from being written",
        "bulk/output.py",
        "unfinished.unlink(missing_ok=True)",
        "pass",
        ("bulk_output",),
    ),
    Defect(
        "a host that answers again stays known as silent",
        "bulk/reading.py",
        "self._unresponsive.discard(host)",
        "pass",
        ("bulk_reading",),
    ),
    Defect(
        "a job's file is not closed at its end",
        "bulk/progress.py",
        "self._database.close()\n        self._release()",
        "self._release()",
        ("bulk_progress",),
    ),
)

_TOP = (
    Defect(
        "a setting of keys that has none in it opens the service",
        "settings.py",
        "if not split:",
        "if split is None:",
        ("settings",),
    ),
    Defect(
        "`look` ends well although a picture could not be read",
        "cli.py",
        'failed += "error" in answer',
        'failed = "error" in answer',
        ("cli",),
    ),
    Defect(
        "the page's search finds lists that have any of the words",
        "static/lists.js",
        "words.every(",
        "words.some(",
        ("browser_question",),
    ),
    Defect(
        "a client without an address is logged as one that is called None",
        "logs.py",
        '"null" if value is None else f\'"{value}"\'',
        "f'\"{value}\"'",
        ("logs", "server_rejection"),
    ),
)

DEFECTS = (
    *(*_LIMITS, *_PARSING, *_DOCUMENTS, *_IIIF, *_FETCH, *_IMAGES, *_ZERO_SHOT, *_API, *_SERVER, *_BULK),
    *_TOP,
)
