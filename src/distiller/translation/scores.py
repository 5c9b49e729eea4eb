"""BLEU and chrF of detokenised text, by sacreBLEU, with the signatures that say how they were computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from distiller.errors import DataError, importing

METRIC = "bleu"
"""The score by which the best checkpoint is chosen and models are compared."""
RISING = "chrf"
"""The score that grows from the first steps on, when BLEU is still 0."""


@dataclass(frozen=True)
class Scores:
    """Corpus scores from 0 to 100, and their signatures, by name."""

    values: dict[str, float]
    signatures: dict[str, str]


def score(hypotheses: Sequence[str], references: Sequence[str]) -> Scores:
    """BLEU (13a, exponential smoothing, cased) and chrF2, one reference each. Raises `DataError` for unequal counts.

    Source: Post 2018, arXiv:1804.08771; Popović 2015, aclanthology.org/W15-3049.
    """
    if len(hypotheses) != len(references):
        raise DataError(f"{len(hypotheses)} translations for {len(references)} references")
    metrics = _sacrebleu()
    found = {"bleu": metrics.BLEU(), "chrf": metrics.CHRF()}
    values = {name: metric.corpus_score(list(hypotheses), [list(references)]).score for name, metric in found.items()}
    return Scores(values, {name: str(metric.get_signature()) for name, metric in found.items()})


def sentence_counts(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """The statistics of BLEU by sentence, `[n, 10]`: both lengths, and matched and total n-grams of four orders."""
    metric = _sacrebleu().BLEU(effective_order=True)  # irrelevant for the counts
    rows = []
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        found = metric.sentence_score(hypothesis, [reference])
        rows.append([found.sys_len, found.ref_len, *found.counts, *found.totals])
    return np.asarray(rows, dtype=np.int64)


def bleu_of(counts: np.ndarray) -> float:
    """Corpus BLEU of the sentences with these `sentence_counts`, equal to that of `score`."""
    metric = _sacrebleu().BLEU()
    ours, theirs, *grams = counts.sum(0).tolist()
    half = len(grams) // 2
    smoothing = {"smooth_method": metric.smooth_method, "smooth_value": metric.smooth_value}
    return metric.compute_bleu(grams[:half], grams[half:], ours, theirs, **smoothing).score


def sentence_chrf(hypothesis: str, reference: str) -> float:
    """chrF of one sentence, 0 to 100."""
    return _sacrebleu().CHRF().sentence_score(hypothesis, [reference]).score


def closest(hypotheses: Sequence[str], references: Sequence[str], *, by: Literal["bleu", "chrf"] = "bleu") -> int:
    """The index of the hypothesis with the highest sentence score against any reference; the first of equals.

    Source: Kim and Rush 2016, arXiv:1606.07947, section 3.3.
    """
    metrics = _sacrebleu()
    metric = metrics.BLEU(effective_order=True) if by == "bleu" else metrics.CHRF()
    found = []
    for hypothesis in hypotheses:
        found.append(max(metric.sentence_score(hypothesis, [reference]).score for reference in references))
    return max(range(len(found)), key=found.__getitem__)


def _sacrebleu() -> Any:
    with importing("translation scores need", extra="translation"):
        from sacrebleu import metrics
    return metrics
