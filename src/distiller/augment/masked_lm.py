"""A masked language model as a source of words: what it predicts where words are masked."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from distiller.augment.pretrained import load_weights
from distiller.augment.stop_words import is_stop_word
from distiller.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HINT = "name a masked language model such as BERT; `distiller mlm` trains a small one on the task's own text"


class Guess(NamedTuple):
    """What the model predicts at one mask, best first."""

    words: list[str]
    probabilities: list[float]
    """Of these words among each other; they add up to 1."""


class MaskedLM:
    """A tokenizer and a model with a masked-language-model head, and which of its pieces are whole words."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", model: "PreTrainedModel") -> None:
        import torch

        from distiller.models.taught_words import texts_of_tokens

        self.tokenizer = tokenizer
        self.model = model
        self.mask = str(tokenizer.mask_token)
        special = set(tokenizer.all_special_ids)
        self.pieces: list[str | None] = [None] * model.config.vocab_size
        """Each piece that begins a word as it is written, `None` for others and for special tokens."""
        for number, text in enumerate(texts_of_tokens(tokenizer)):
            if text.startswith(" ") and number not in special:
                self.pieces[number] = text.strip() or None
        self._by_word: dict[str, list[int]] = {}
        for number, piece in enumerate(self.pieces):
            if piece is not None:
                self._by_word.setdefault(piece.casefold(), []).append(number)
        words = ("" if piece is None else piece for piece in self.pieces)
        content = [len(word) > 1 and word.isalpha() and not is_stop_word(word) for word in words]
        self._refused = ~torch.tensor(content, device=model.device)

    def is_one_piece(self, word: str) -> bool:
        """Whether `word` is a single piece of the tokenizer."""
        pieces = self.tokenizer.tokenize(f" {word}")
        return len(pieces) == 1 and pieces[0] != self.tokenizer.unk_token

    def guesses(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        originals: Sequence[Sequence[str]],
        *,
        top_k: int,
        letters_only: bool,
        batch_size: int,
    ) -> list[list[Guess]]:
        """For each text a guess at each of its masks within the model's maximum of tokens.

        `originals` are the masked words of each text. With `letters_only` the guesses are the best `top_k` pieces that
        are words of at least two letters, not stop words and not the original; otherwise the words among the best
        `top_k` of all pieces.
        """
        import torch

        found: list[list[Guess]] = [[] for _ in texts]
        order = sorted(range(len(texts)), key=lambda n: -len(texts[n]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            with torch.inference_mode():
                masks, scores = self._scores(
                    [texts[n] for n in rows], None if pairs is None else [pairs[n] for n in rows]
                )
                if letters_only:
                    words = [[*originals[n], *[""] * count][:count] for n, count in zip(rows, masks, strict=True)]
                    self._refuse(scores, list(chain.from_iterable(words)))
                values, numbers = (best.cpu() for best in scores.topk(min(top_k, scores.shape[-1])))
            guesses = map(self._guess, values, numbers.tolist())
            for n, count in zip(rows, masks, strict=True):
                found[n] = list(islice(guesses, count))[: len(originals[n])]
        return found

    def _scores(self, texts: list[str], pairs: list[str] | None) -> tuple[list[int], "Tensor"]:
        """How many masks each text has, and the scores at all of them in order, `[masks, pieces]`."""
        from distiller.models.load import longest_input

        inputs = self.tokenizer(
            texts,
            pairs,
            truncation="longest_first",
            max_length=min(longest_input(self.model), self.tokenizer.model_max_length),
            padding=True,
            return_tensors="pt",
            verbose=False,
        ).to(self.model.device)
        masked: Any = inputs["input_ids"] == self.tokenizer.mask_token_id
        with scores_only_at(self.model, masked):
            logits = self.model(**inputs).logits
        return masked.sum(1).tolist(), (logits if logits.dim() == 2 else logits[masked]).float()

    def _refuse(self, scores: "Tensor", originals: Sequence[str]) -> None:
        """Rule out, in `scores`, pieces that are not words, and the original of each row."""
        scores.masked_fill_(self._refused, -math.inf)
        for row, original in zip(scores, originals, strict=True):
            row[self._by_word.get(original.casefold(), [])] = -math.inf

    def _guess(self, values: "Tensor", numbers: list[int]) -> Guess:
        """The possible words among the best pieces at one mask."""
        words = [self.pieces[number] for number in numbers]
        keep = [word is not None and value > -math.inf for word, value in zip(words, values.tolist(), strict=True)]
        kept = [word for word, good in zip(words, keep, strict=True) if word is not None and good]
        return Guess(kept, values[keep].softmax(0).tolist())


@lru_cache(maxsize=2)
def load_masked_lm(name: str, device: str = "cpu") -> MaskedLM:
    """The masked language model `name`, a folder, hub id or `package:NAME`; loaded once per process.

    Raises `ModelError` for one without a mask token or without a trained head.
    """
    from transformers import AutoModelForMaskedLM

    from distiller.models.folders import load_tokenizer

    tokenizer = load_tokenizer(name)
    if tokenizer.mask_token_id is None:
        raise ModelError(f"the tokenizer of `{name}` has no mask token", hint=HINT)
    model = load_weights(AutoModelForMaskedLM, name, device=device, what="masked language model", hint=HINT)
    return MaskedLM(tokenizer, model)


@contextmanager
def scores_only_at(model: "PreTrainedModel", chosen: "Tensor") -> Iterator[None]:
    """Scores of the vocabulary at the chosen positions only: in small models they cost more than all the layers."""
    outputs = model.get_output_embeddings()

    def select(_: Any, arguments: tuple[Any, ...]) -> Any:
        hidden = arguments[0]
        return (hidden[chosen], *arguments[1:]) if hidden.shape[:-1] == chosen.shape else None

    hook = outputs.register_forward_pre_hook(select) if outputs is not None else None
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()
