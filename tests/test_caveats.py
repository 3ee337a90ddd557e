"""What a person should know of an answer: one sentence for each thing, and none where there is nothing to say."""

from dataclasses import replace

from service.zero_shot import ranking
from service.zero_shot.classifier import EncodedList
from service.zero_shot.phrase_lists import own_list
from tests.support.hash_encoder import HashEncoder

ENCODER = HashEncoder()
LONG = "a phrase of more than twenty characters"


def encoded(name: str, *phrases: str) -> EncodedList:
    phrase_list = own_list(name, phrases, "{}")
    return EncodedList(phrase_list, ENCODER.encode_text(phrase_list.phrases))


def test_nothing_is_said_of_a_real_model_and_a_list_of_several_short_phrases() -> None:
    assert ranking.caveats(ENCODER.model, [encoded("subject", "a river", "a bridge")]) == []


def test_the_demo_model_is_named_first() -> None:
    sentences = ranking.caveats(replace(ENCODER.model, demo=True), [encoded("subject", "a river")])
    assert sentences[0] == ranking.DEMO
    assert len(sentences) == 2


def test_a_list_of_one_phrase_is_said_to_have_no_choice() -> None:
    [sentence] = ranking.caveats(ENCODER.model, [encoded("subject", "a river"), encoded("other", "one", "two")])
    assert sentence == "The list 'subject' has one phrase, so its probability is 1 whatever the image shows."


def test_cut_phrases_are_counted_with_the_models_limit() -> None:
    one = encoded("one", LONG, "short")
    two = encoded("two", LONG, "short", LONG + " again")
    assert ranking.caveats(ENCODER.model, [one, two]) == [
        "The model reads 20 tokens of a phrase; 1 phrase of 'one' had more.",
        "The model reads 20 tokens of a phrase; 2 phrases of 'two' had more.",
    ]
