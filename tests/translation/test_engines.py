"""Decoding against brute force: all sentences of a language of two words, and greedy search step by step."""

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from distiller.config.translation import Decoding
from distiller.translation.engines import Hypothesis, engine
from distiller.translation.tokenizer import END
from translation.tiny import model

ENGINES = ["ctranslate2", "transformers"]
UNKNOWN, A, B, PAD = 1, 2, 3, 4
SOURCES = [[A, B, END], [B, END], [B, B, A, A, END]]
LONGEST = 4


class TwoWords:
    """A vocabulary of two words; all that an engine asks of one."""

    pad, end, forced = PAD, END, None
    special = frozenset({END, UNKNOWN, PAD})
    tokenizer = SimpleNamespace(
        get_vocab=lambda: {"</s>": END, "<unk>": UNKNOWN, "a": A, "b": B, "<pad>": PAD},
        unk_token_id=UNKNOWN,
        unk_token="<unk>",
        eos_token="</s>",
        bos_token=None,
    )

    def encode_targets(self, sentences: list[str]) -> list[list[int]]:
        return [[A, END] for _ in sentences]


def toy(seed: int) -> PreTrainedModel:
    """A model that often ends, and never says a special token."""
    made = model(5, seed=seed, width=16, ffn=16, network="slides").eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(8)  # far from uniform, so that the best sentence is not always the shortest
        made.final_logits_bias.copy_(torch.tensor([[1.0, -40, 0, 0, -40]]))
    return made


def translated(made: PreTrainedModel, name: str, *, n_best: int = 1, seed: int = 0, **decoding: Any) -> Any:
    wish = Decoding(engine=name, length_penalty=0.0, threads=1, **decoding)  # type: ignore[arg-type]
    words: Any = TwoWords()
    with engine(made, words, wish, n_best=n_best) as run:
        return run(SOURCES, seed)


@torch.no_grad()
def log_probability(made: PreTrainedModel, source: list[int], target: tuple[int, ...]) -> float:
    """Of the sentence and its end; one that has reached the longest length has none."""
    inputs = torch.tensor([[PAD, *target]])
    scores = made(input_ids=torch.tensor([source]), decoder_input_ids=inputs).logits[0].log_softmax(-1)
    return float(sum(scores[step, token] for step, token in enumerate((*target, END)[:LONGEST])))


@pytest.mark.parametrize("name", ENGINES)
def test_a_beam_of_everything_finds_the_most_probable_sentence(name: str) -> None:
    made = toy(1)
    found = translated(made, name, beam=16, max_length=LONGEST)
    for source, (best, *_) in zip(SOURCES, found, strict=True):
        every = {
            target: log_probability(made, source, target)
            for length in range(LONGEST + 1)
            for target in product((A, B), repeat=length)
        }
        mode = max(every, key=every.__getitem__)
        assert tuple(best.tokens) == mode
        assert best.score == pytest.approx(every[mode], abs=1e-3)


@pytest.mark.parametrize("name", ENGINES)
def test_a_vocabulary_is_gone_through_before_the_first_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes a third of a second with 250,000 pieces, which would be counted as the time of a sentence."""
    words: Any = TwoWords()
    with engine(toy(1), words, Decoding(engine=name, beam=1, max_length=4)) as run:  # type: ignore[arg-type]
        monkeypatch.setattr(words, "tokenizer", None)
        assert run(SOURCES, 0) == run(SOURCES, 0)


@pytest.mark.parametrize("name", ENGINES)
def test_a_beam_of_one_is_greedy(name: str) -> None:
    made = toy(3)
    for source, (best, *_) in zip(SOURCES, translated(made, name, beam=1, max_length=6), strict=True):
        tokens: list[int] = []
        while len(tokens) < 6:
            inputs = torch.tensor([[PAD, *tokens]])
            step = int(made(input_ids=torch.tensor([source]), decoder_input_ids=inputs).logits[0, -1].argmax())
            if step == END:
                break
            tokens.append(step)
        assert best.tokens == tokens


@pytest.mark.parametrize("name", ENGINES)
def test_hypotheses_come_best_first_and_differ(name: str) -> None:
    for hypotheses in translated(toy(1), name, beam=4, n_best=3, max_length=6):
        scores = [one.score for one in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(one.tokens) for one in hypotheses}) == 3


@pytest.mark.parametrize("name", ENGINES)
def test_samples_follow_their_seed(name: str) -> None:
    made = model(5, width=16, ffn=16).eval()
    first, again, other = (
        translated(made, name, beam=1, sampling_top_k=0, max_length=20, seed=seed) for seed in (1, 1, 2)
    )
    assert [one[0].tokens for one in first] == [one[0].tokens for one in again]
    assert [one[0].tokens for one in first] != [one[0].tokens for one in other]


def test_int8_is_close_to_float32() -> None:
    made = toy(1)
    exact, rough = (
        translated(made, "ctranslate2", beam=1, max_length=6, compute=compute) for compute in ("float32", "int8")
    )
    assert isinstance(rough[0][0], Hypothesis)
    for one, other in zip(exact, rough, strict=True):
        assert other[0].score == pytest.approx(one[0].score, abs=1.0)
