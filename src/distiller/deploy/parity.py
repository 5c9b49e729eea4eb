"""Whether an exported form gives the same outputs as the model, on real batches of several lengths."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from distiller.config import Config
from distiller.deploy.finished import Finished
from distiller.deploy.forms import batches, in_order, input_names, torch_runtime
from distiller.deploy.runtimes import Arrays, Runtime
from distiller.tasks.tokens import scorer

SIZES = (1, 2, 7, 32)
"""Batch sizes, in turn."""
MADE_UP = (2, 3, 8, 16, 33, 64)
"""Lengths of made-up batches, beside the longest input, where there are no texts."""
NEAR = 0.1
"""A number counts as equal within this share of the standard deviation of the model's own numbers."""


class Parity(Config):
    """The outputs of an exported form compared with the model in torch, float32, on the processor."""

    rows: int
    """Development texts (windows of them for question answering), or made-up ones where there are no texts."""
    made_up: bool
    lengths: list[int]
    """Different padded lengths among the batches."""
    largest_difference: float | None
    """Of any logit that counts; `null` for translations, which are compared as texts."""
    largest_logit: float | None
    """By absolute value, to judge the difference by."""
    equal_predictions: float
    """Share of equal classes, tags, answers (start and end), translations, or numbers within a tenth of their standard
    deviation."""
    metric: str | None = None
    score: float | None = None
    """Of the exported form on the development set, as a share of 1."""
    torch_score: float | None = None
    """Of the model on the same rows."""

    def shown(self, score: float | None) -> str:
        """A score as people read it: BLEU in points."""
        if score is None:
            return "–"
        return f"{100 * score:.1f}" if self.metric == "bleu" else f"{score:.4f}"

    @property
    def loss(self) -> float:
        """By how much the score falls; 0 where it is unknown or rises."""
        return 0.0 if self.score is None or self.torch_score is None else max(0.0, self.torch_score - self.score)


def compare(source: Finished, run: Runtime) -> Parity:
    """Run the model and its exported form `run` side by side."""
    reference = torch_runtime(source.model, input_names(source))
    dev = source.tokens("dev")
    found: list[tuple[list[int], np.ndarray, np.ndarray, np.ndarray]] = []
    lengths = set()
    pairs = batches(source, dev[1], range(len(dev[1])), sizes=SIZES) if dev else _made_up(source)
    for rows, arrays in pairs:
        lengths.add(arrays["input_ids"].shape[1])
        found.append((rows, reference(arrays), run(arrays), _counting(source.kind, arrays)))
    ours = np.concatenate([expected[mask] for _, expected, _, mask in found])
    theirs = np.concatenate([given[mask] for _, _, given, mask in found])
    measured = Parity(
        rows=sum(len(rows) for rows, *_ in found),
        made_up=dev is None,
        lengths=sorted(lengths),
        largest_difference=_finite(np.abs(ours - theirs).max()),
        largest_logit=_finite(np.abs(ours).max()),
        equal_predictions=_equal(source.kind, found),
    )
    if dev is None or source.data is None or source.run is None:
        return measured
    split, encoded = dev
    metric = source.data.metric
    score = scorer(source.data, source.run.task, split, encoded)
    chosen = [rows for rows, *_ in found]
    expected = in_order(len(encoded), chosen, [one for _, one, _, _ in found])
    given = in_order(len(encoded), chosen, [one for _, _, one, _ in found])
    torch_score, own_score = (score(logits, encoded.gold)[metric] for logits in (expected, given))
    return measured.model_copy(update={"metric": metric, "score": own_score, "torch_score": torch_score})


def _made_up(source: Finished) -> Iterator[tuple[list[int], Arrays]]:
    """Batches of random tokens of several lengths, between the special tokens that the tokenizer puts around a text.

    The first row of each is padded, on the tokenizer's side.
    """
    rng = np.random.default_rng(0)
    tokenizer: Any = source.tokenizer
    words = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    head, tail = _around(tokenizer)
    least = len(head) + len(tail)
    row = 0
    for length in sorted({max(least, min(length, source.max_length)) for length in (*MADE_UP, source.max_length)}):
        for size in (1, 5):
            ids, mask = rng.choice(words, (size, length)), np.ones((size, length), dtype=np.int64)
            for number in range(size):
                real = length if number or size == 1 else max(least, length // 2)
                start = length - real if tokenizer.padding_side == "left" else 0
                ids[number, start : start + len(head)] = head
                ids[number, start + real - len(tail) : start + real] = tail
                mask[number, :start] = mask[number, start + real :] = 0
            ids[mask == 0] = tokenizer.pad_token_id
            arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            yield list(range(row, row + size)), arrays
            row += size


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens that a tokenizer puts before and after a text."""
    found = tokenizer("one", return_special_tokens_mask=True)
    ids, own = found["input_ids"], found["special_tokens_mask"]
    text = [place for place, special in enumerate(own) if not special] or [len(ids)]
    return ids[: text[0]], ids[text[-1] + 1 :]


def _counting(kind: str, arrays: Arrays) -> np.ndarray:
    """Which logits count: all of an example `[b]`; of tokens those that are real, or may be answers, `[b, l]`."""
    if kind not in ("tagging", "qa"):
        return np.ones(len(arrays["input_ids"]), dtype=bool)
    return arrays.get("output_mask", arrays["attention_mask"]).astype(bool)


PREDICTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "classification": lambda logits, mask: logits.argmax(-1),
    "multilabel": lambda logits, mask: logits > 0,
    "tagging": lambda logits, mask: logits.argmax(-1)[mask],
    "qa": lambda logits, mask: np.where(mask[..., None], logits, -np.inf).argmax(1),
}
"""Kind of task to what its logits `[b, …]` predict, `[n]` or `[n, k]`, whose rows are equal or not."""


def _equal(kind: str, found: list[tuple[list[int], np.ndarray, np.ndarray, np.ndarray]]) -> float:
    if kind == "regression":
        ours = np.concatenate([expected.reshape(-1) for _, expected, _, _ in found])
        theirs = np.concatenate([given.reshape(-1) for _, _, given, _ in found])
        return float(np.mean(np.abs(ours - theirs) <= NEAR * max(float(ours.std()), 1e-6)))
    predict = PREDICTIONS[kind]
    same = []
    for _, expected, given, mask in found:
        agree = predict(expected, mask) == predict(given, mask)
        same.append(agree.all(-1) if agree.ndim > 1 else agree)
    return float(np.concatenate(same).mean())


def _finite(value: Any) -> float:
    return float(value) if math.isfinite(value) else math.inf
