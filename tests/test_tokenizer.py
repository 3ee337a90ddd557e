"""PhraseTokenizer gives the token ids that transformers gives, cut and filled up as the model wants it."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from service.zero_shot import model_files
from service.zero_shot.backends.parity_check import TOKENIZER_SAMPLES
from service.zero_shot.preprocessing.processors import load_tokenizer, tokenizer_of
from service.zero_shot.preprocessing.tokenizer import Padding, PhraseTokenizer
from tests.support import tiny_models

LONG = "the river and the bridge at night " * 80
PHRASES = (
    "stone",
    "a red circle on a blue ground",
    "A  Painting,\tof TWO ships!\n",
    "  ",
    "",
    LONG,
    "Café Zoë, naïve façade; e\u0301 and \u00e9",
    "絵画 картина πίνακας",
    "🎨🖼️ \u200d\u0000 <|endoftext|> <eos> &amp; <b>",
    "it's 1,234.5 km — don't",
    "x" * 500,
)


@dataclass(frozen=True)
class Pair:
    """A model's tokenizer as Gaze reads it from a file, and transformers' own."""

    ours: PhraseTokenizer
    theirs: Any
    filled_up: bool

    def expected(self, phrase: str) -> tuple[int, ...]:
        """Return the ids that transformers gives, cut and filled up by itself."""
        filling: dict[str, Any] = {"padding": "max_length"} if self.filled_up else {}
        limit = self.ours.max_tokens
        return tuple(self.theirs([phrase], truncation=True, max_length=limit, **filling)["input_ids"][0])


def read(folder: Path, file: Path, max_tokens: int) -> PhraseTokenizer:
    """Read a model's tokenizer in the way that a converted model's is: from a file, without transformers."""
    by_transformers = load_tokenizer(model_files.locate(str(folder), None), max_tokens)
    assert by_transformers.file_contents is not None
    file.write_text(by_transformers.file_contents, encoding="utf-8")
    return PhraseTokenizer.read(file, max_tokens, by_transformers.padding)


FAMILIES = ("clip", "clip without tokenizer.json", "siglip 2, fixed size", "siglip 2")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for family in FAMILIES:
        tiny_models.FAMILIES[family](folder / family)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = folders / request.param
    clip = request.param.startswith("clip")
    ours = read(folder, tmp_path_factory.mktemp("tokenizer") / "tokenizer.json", 77 if clip else 64)
    return Pair(ours, tiny_models.reference_tokenizer(folder), filled_up=not clip)


def test_ids_are_transformers_own(pair: Pair) -> None:
    token_ids, cut = pair.ours(PHRASES)
    assert token_ids == [pair.expected(phrase) for phrase in PHRASES]
    lengths = [len(ids) for ids in pair.theirs(list(PHRASES))["input_ids"]]
    assert cut == tuple(index for index, length in enumerate(lengths) if length > pair.ours.max_tokens)
    assert PHRASES.index(LONG) in cut
    assert 0 not in cut


@settings(max_examples=300, deadline=None)
@given(phrases=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=100), min_size=1, max_size=4))
@pytest.mark.parametrize("pair", ["clip", "siglip 2, fixed size"], indirect=True)
def test_ids_of_any_text_are_transformers_own(pair: Pair, phrases: list[str]) -> None:
    assert pair.ours(phrases)[0] == [pair.expected(phrase) for phrase in phrases]


@pytest.mark.parametrize("limit", [3, 8, 64])
@pytest.mark.parametrize("on_the_left", [False, True])
def test_phrases_are_filled_up_on_the_side_that_the_model_wants(
    folders: Path, tmp_path: Path, limit: int, *, on_the_left: bool
) -> None:
    folder = shutil.copytree(folders / "siglip 2, fixed size", tmp_path / "model")
    config = transformers.AutoTokenizer.from_pretrained(folder)
    config.padding_side = "left" if on_the_left else "right"
    config.save_pretrained(folder)
    ours = read(folder, tmp_path / "tokenizer.json", limit)
    pair = Pair(ours, tiny_models.reference_tokenizer(folder), filled_up=True)
    token_ids, cut = ours(PHRASES)
    assert ours.padding == Padding(token_id=pair.theirs.pad_token_id, on_the_left=on_the_left)
    assert token_ids == [pair.expected(phrase) for phrase in PHRASES]
    assert {len(ids) for ids in token_ids} == {limit}
    assert (token_ids[0][0] == pair.theirs.pad_token_id) == (on_the_left and 0 not in cut)


@pytest.mark.parametrize(("words", "is_cut"), [(75, False), (76, True)])
@pytest.mark.parametrize("pair", ["clip"], indirect=True)
def test_phrase_at_the_limit_is_not_cut(pair: Pair, words: int, *, is_cut: bool) -> None:
    # Two of the 77 tokens begin and end the phrase.
    [ids], cut = pair.ours(["stone " * words])
    assert (len(ids), cut) == (77, (0,) if is_cut else ())
    assert (ids[0], ids[-1]) == (49406, 49407)


def test_tokenizer_of_sentencepiece_has_no_file(tmp_path: Path) -> None:
    files = model_files.locate(str(tiny_models.write_siglip(tmp_path / "model")), None)
    ours = load_tokenizer(files, tiny_models.SIGLIP_TOKENS)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert ours.file_contents is None
    assert ours(PHRASES)[0] == [Pair(ours, theirs, filled_up=True).expected(phrase) for phrase in PHRASES]


def as_spiece_model(folder: Path) -> None:
    """Leave the files as SigLIP's authors have them, but for the name of the tokenizer."""


def as_a_file_of_t5s(folder: Path) -> None:
    """Have a tokenizer.json in place of spiece.model, as T5's tokenizer is saved, with a hundred tokens of its own."""
    saved = transformers.T5Tokenizer.from_pretrained(folder, extra_ids=100)
    saved.save_pretrained(folder)
    (folder / "spiece.model").unlink()


def as_both_files(folder: Path) -> None:
    """Have T5's tokenizer.json and settings beside spiece.model."""
    pieces = (folder / "spiece.model").read_bytes()
    as_a_file_of_t5s(folder)
    (folder / "spiece.model").write_bytes(pieces)


def as_an_old_file_of_t5s(folder: Path) -> None:
    """Have a tokenizer.json of the make that transformers 4 saved: no split at blanks."""
    as_a_file_of_t5s(folder)
    contents = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    contents["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "add_prefix_space": True,
        "prepend_scheme": "always",
    }
    tiny_models.write_json(folder / "tokenizer.json", contents)


@pytest.mark.parametrize("arrange", [as_spiece_model, as_a_file_of_t5s, as_both_files, as_an_old_file_of_t5s])
@pytest.mark.parametrize(
    "named", ["T5Tokenizer", "T5TokenizerFast", "SiglipTokenizer", "PreTrainedTokenizerFast", None]
)
def test_siglips_phrases_lose_capitals_and_punctuation_whatever_the_tokenizer_is_called(
    tmp_path: Path, named: str | None, arrange: Callable[[Path], None]
) -> None:
    folder = tiny_models.write_siglip(tmp_path / "model")
    theirs = transformers.SiglipTokenizer.from_pretrained(folder)
    arrange(folder)
    contents = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tiny_models.write_json(
        folder / "tokenizer_config.json", {**contents, "pad_token": "</s>", "tokenizer_class": named}
    )
    ours = load_tokenizer(model_files.locate(str(folder), None), tiny_models.SIGLIP_TOKENS)
    # Of several accents on a letter the tokenizers' library makes other tokens than SentencePiece, whatever is asked.
    stacked = "a\u0300\u0301\u0302 stack"
    phrases = [*(phrase for phrase in TOKENIZER_SAMPLES if phrase != stacked), "ΟΔΟΣ ΠΊΝΑΚΑΣ Σ.", "\x1cA B\x85C", "A_b"]
    assert ours(phrases)[0] == [Pair(ours, theirs, filled_up=True).expected(phrase) for phrase in phrases]
    if named != "SiglipTokenizer" or arrange is not as_both_files:  # which then is what its settings say
        assert len(tokenizer_of(model_files.locate(str(folder), None), "siglip")) == len(theirs)


@pytest.mark.parametrize(
    ("settings", "same"),
    [({}, True), ({"do_lower_case": True}, True), ({"do_lower_case": False}, False), ({"extra": 1}, True)],
)
def test_siglip_2_of_a_fixed_size_loses_capitals(tmp_path: Path, settings: dict[str, Any], *, same: bool) -> None:
    folder = tiny_models.write_siglip(tmp_path / "model", tokenizer="GemmaTokenizer")
    contents = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tiny_models.write_json(folder / "tokenizer_config.json", {**contents, **settings})
    ours = load_tokenizer(model_files.locate(str(folder), None), tiny_models.SIGLIP_TOKENS)
    [shouted, said], _ = ours(["Oil On CANVAS", "oil on canvas"])
    assert (shouted == said) == same


def test_file_that_fills_up_and_cuts_by_itself_is_read_without(folders: Path, tmp_path: Path) -> None:
    # transformers saves with a tokenizer what it was last asked for.
    theirs = transformers.AutoTokenizer.from_pretrained(folders / "clip")
    theirs(["stone", LONG], padding="max_length", truncation=True, max_length=5)
    theirs.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    ours = PhraseTokenizer.read(tmp_path / "tokenizer.json", 77, None)
    [short, longer], cut = ours(["stone", LONG])
    assert (len(short), len(longer), cut) == (3, 77, (1,))


def test_file_may_be_deleted_once_it_is_read(folders: Path, tmp_path: Path) -> None:
    ours = read(folders / "clip", tmp_path / "tokenizer.json", 77)
    (tmp_path / "tokenizer.json").unlink()
    assert ours(["a red circle"]) == ([(49406, 320, 736, 7117, 49407)], ())


@pytest.mark.parametrize("contents", [None, b""])
def test_file_that_is_not_there_or_empty_is_told_at_once(tmp_path: Path, contents: bytes | None) -> None:
    if contents is not None:
        (tmp_path / "tokenizer.json").write_bytes(contents)
    with pytest.raises((OSError, ValueError)):
        PhraseTokenizer.read(tmp_path / "tokenizer.json", 77, None)


@pytest.fixture
def by_transformers(folders: Path) -> PhraseTokenizer:
    return load_tokenizer(model_files.locate(str(folders / "clip"), None), 77)


@pytest.fixture
def from_a_file(folders: Path, tmp_path: Path) -> PhraseTokenizer:
    return read(folders / "clip", tmp_path / "tokenizer.json", 77)


@pytest.mark.usefixtures("hasty_threads")
@pytest.mark.parametrize("kind", ["by_transformers", "from_a_file"])
def test_threads_do_not_disturb_each_other(request: pytest.FixtureRequest, kind: str) -> None:
    tokenizer: Callable[[list[str]], Any] = request.getfixturevalue(kind)
    questions = [[LONG, "stone"], ["stone", "a red circle"], ["oil on canvas " * 40], [LONG] * 8]
    expected = [tokenizer(question) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(tokenizer, questions[number % 4]) for number in range(400)]
        for number, answer in enumerate(answers):
            assert answer.result() == expected[number % 4]
