"""Translation models of `transformers`, one direction each."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from distiller.augment.pretrained import load_weights
from distiller.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HINT = "name a sequence-to-sequence model such as Helsinki-NLP/opus-mt-en-de"

MULTILINGUAL = ("m2m_100", "mbart", "nllb-moe", "seamless_m4t", "seamless_m4t_v2")
"""Models that must be told both languages; they would translate into a wrong one."""


class Seq2Seq:
    """A tokenizer and a model that turns one text into another."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", model: "PreTrainedModel") -> None:
        self.tokenizer = tokenizer
        self.model = model

    def translate(
        self,
        texts: Sequence[str],
        *,
        seeds: Sequence[int] | None,
        beams: int | None,
        top_k: int,
        max_length: int | None,
        batch_size: int,
    ) -> list[str]:
        """The translations: by beam search or, with one of `seeds` a text, by sampling the best `top_k` tokens."""
        done = [""] * len(texts)
        order = sorted(range(len(texts)), key=lambda n: -len(texts[n]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            drawn = None if seeds is None else [seeds[n] for n in rows]
            for n, text in zip(
                rows, self._batch([texts[n] for n in rows], drawn, beams, top_k, max_length), strict=True
            ):
                done[n] = text
        return done

    def _batch(
        self, texts: list[str], seeds: Sequence[int] | None, beams: int | None, top_k: int, max_length: int | None
    ) -> list[str]:
        import torch
        from transformers import LogitsProcessorList

        limit = min(self.longest, max_length or self.longest)
        inputs = self.tokenizer(
            texts, truncation=True, max_length=limit, padding=True, return_tensors="pt", verbose=False
        ).to(self.model.device)
        noise = [] if seeds is None else [_Draw(seeds, top_k, self.model.device)]
        with torch.inference_mode():
            tokens: Any = self.model.generate(  # pyright: ignore[reportCallIssue]
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                num_beams=beams or 1,
                do_sample=False,
                max_length=None,
                max_new_tokens=limit,
                logits_processor=LogitsProcessorList(noise),
            )
        return self.tokenizer.batch_decode(tokens, skip_special_tokens=True)

    @property
    def longest(self) -> int:
        """The most tokens that the model takes, and the most that it generates."""
        limit = getattr(self.model.config, "max_position_embeddings", None) or 512
        return min(limit, self.tokenizer.model_max_length) - 1  # the first generated token is not a new one


@lru_cache(maxsize=4)
def load_seq2seq(name: str, device: str = "cpu") -> Seq2Seq:
    """The translation model `name`: a folder, hub id or `package:NAME`. Raises `ModelError`."""
    from transformers import AutoModelForSeq2SeqLM

    from distiller.models.folders import load_tokenizer

    tokenizer = load_tokenizer(name)
    model = load_weights(AutoModelForSeq2SeqLM, name, device=device, what="sequence-to-sequence model", hint=HINT)
    if model.config.model_type in MULTILINGUAL:
        raise ModelError(
            f"`{name}` translates between many languages and has to be told which",
            hint="name a model for one pair of languages, such as Helsinki-NLP/opus-mt-en-de",
        )
    return Seq2Seq(tokenizer, model)


def languages(name: str) -> tuple[str | None, str | None]:
    """Source and target language of a translation model, if its tokenizer knows them, as Marian's do."""
    from distiller.models.folders import load_tokenizer

    tokenizer = load_tokenizer(name)
    said = [getattr(tokenizer, key, tokenizer.init_kwargs.get(key)) for key in ("source_lang", "target_lang")]
    source, target = (language if isinstance(language, str) else None for language in said)
    return source, target


class _Draw:
    """Turns greedy search into sampling from the best tokens, with a random generator for each row.

    The largest of scores with Gumbel noise is a sample from their softmax; sampling each row by itself makes it
    independent of the rest of the batch.
    """

    def __init__(self, seeds: Sequence[int], top_k: int, device: Any) -> None:
        import torch

        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.top_k = top_k
        self.device = device

    def __call__(self, input_ids: "Tensor", scores: "Tensor") -> "Tensor":
        """Scores `[rows, tokens]` with noise at the best `top_k`, and -inf elsewhere."""
        import torch

        best, places = scores.topk(min(self.top_k, scores.shape[-1]))
        uniform = torch.stack([torch.rand(best.shape[-1], generator=generator) for generator in self.generators])
        noise = -(-uniform.clamp(min=1e-12).log()).clamp(min=1e-12).log()
        return torch.full_like(scores, -torch.inf).scatter(-1, places, best + noise.to(self.device))
