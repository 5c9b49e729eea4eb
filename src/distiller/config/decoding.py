"""How a model translates, and what a student learns from the translations of its teacher."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distiller.config.base import Config, Files
from distiller.config.shapes import LONGEST
from distiller.registry import Count, NonNegative, Number, Positive, Probability


class Decoding(Config):
    """How a model translates."""

    beam: Count = 4
    """1 is greedy."""
    length_penalty: NonNegative = 0.6
    """Exponent of the length by which scores are divided."""
    max_length: Annotated[int, Field(ge=1, le=LONGEST), Number] = 160
    """Longest translation in tokens."""
    sampling_top_k: Annotated[int, Field(ge=0), Number] | None = None
    """Draw each token from the k most probable ones instead of searching; 0 draws from all. `null`: search."""
    sampling_temperature: Positive = 1.0
    engine: Literal["auto", "ctranslate2", "transformers"] = "auto"
    """`auto`: CTranslate2 where it is installed."""
    compute: Literal["float32", "int8"] = "float32"
    """Numbers that CTranslate2 computes with."""
    batch_tokens: Annotated[Count, Field(le=2**24)] = 4096
    """Source tokens translated at a time."""
    threads: Annotated[Count, Field(le=1024)] | None = None
    """CPU threads. `null`: torch's default."""

    @model_validator(mode="after")
    def _samples_do_not_search(self) -> "Decoding":
        if self.sampling_top_k is not None and self.beam > 1:
            raise ValueError("sampling and beam search exclude each other: set beam to 1")
        return self


class Filter(Config):
    """Which pseudo-labels are left out; what is left out is counted in the Record."""

    worst: Annotated[float, Field(ge=0, lt=1), Number] = 0.0
    """Share of the sentences to leave out: those whose best translation the teacher itself scores lowest."""
    length_ratio: Annotated[float, Field(gt=1), Number] | None = None
    """Largest ratio of the numbers of characters in a sentence and its translation, whichever is longer. `null`: any
    length."""
    copies: bool = False
    """Leave out translations that are identical to their sentence."""
    duplicates: bool = True
    """Leave out repeated pairs."""
    round_trip: Annotated[float, Field(ge=0, le=100), Number] = 0.0
    """Leave out sentences whose best translation, translated back by `sequence.backward`, has a lower chrF than
    this."""


class SequenceLevel(Config):
    """Sequence-level distillation: the teacher's own translations as targets."""

    gold_ratio: Probability = 0.0
    """Share of the training examples that are gold pairs, g; the others are pseudo-labels. L = g·L(gold) +
    (1 - g)·L(pseudo) in expectation. The slides try 0.1, 0.34, 0.66 and 0.9."""
    seq_inter: Literal["data_mixing", "local_update"] = "data_mixing"
    """Which hypotheses of the teacher are targets: all that are kept (slides: the best), or the one of `n_best` that is
    closest to the gold translation (Kim and Rush 2016); where there is no gold, as of monolingual text, the best."""
    closest_by: Literal["bleu", "chrf"] = "bleu"
    """How `local_update` measures closeness to the gold translation: sentence BLEU, or chrF."""
    n_best: Count = 1
    """Hypotheses kept for each sentence; with `data_mixing` each is a training pair."""
    decoding: Decoding = Decoding()
    pseudo_labels: Files = []
    """Outputs of `distiller pseudo-label`, used instead of decoding here; jobs of several teachers go together."""
    filter: Filter = Filter()
    backward: str | None = None
    """A model from the target to the source language, which translates `task.monolingual_target` and, for
    `filter.round_trip`, the teacher's translations. It uses `teacher.languages` with source and target swapped, if it
    needs them."""

    @model_validator(mode="after")
    def _hypotheses_exist(self) -> "SequenceLevel":
        if self.n_best > self.decoding.beam and self.decoding.sampling_top_k is None:
            raise ValueError(f"n_best = {self.n_best} hypotheses need a beam of at least that many")
        return self
