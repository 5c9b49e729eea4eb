"""The teacher's last decoder states on every training pair, computed once: word-level distillation without the
teacher's forward pass.

States are stored instead of scores: `width` numbers per token instead of V. The head, applied in each step, computes
the whole distribution from them at any temperature, so nothing is approximated.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import PreTrainedModel

from distiller.cache.folders import FolderCache
from distiller.cache.teacher_outputs import build_teacher_cache
from distiller.config.translation import TranslationRun
from distiller.device import compute
from distiller.jobs import Advance, progress
from distiller.models.encoder_decoder import Seq2SeqReader, width_of
from distiller.models.signals import Signals, frozen_teacher
from distiller.training.pace import EPOCHS
from distiller.training.shared_work import no_room, what_decides_outputs
from distiller.translation.batches import Examples, by_length, collate


def teacher_states(
    store: FolderCache,
    teacher: PreTrainedModel | None,
    examples: Examples,
    run: TranslationRun,
    console: Console | None = None,
    *,
    rows: Tensor | None = None,
    read: np.ndarray | None = None,
) -> tuple[Path | None, str | None]:
    """The folder of the teacher's states on `examples`, computed if it is not there yet.

    `rows` are the ids of the teacher's vocabulary that the student keeps, `read` the examples that the training reads;
    by default all. If there is no folder, the second result says why.
    """
    training = run.training
    size, why_not = states_bytes(store, teacher, examples, run, read=read)
    if teacher is None or size is None:
        return None, why_not
    machine = compute(training.precision)
    device = machine.device
    facts = what_decides_outputs(teacher, machine.precision, device) | {"examples": _fingerprint(examples, rows)}
    if read is not None:
        facts["read"] = hashlib.sha256(read.tobytes()).hexdigest()

    def make(folder: Path) -> None:
        nn.Module.to(frozen_teacher(teacher), torch.device(device))
        listen = Seq2SeqReader(teacher, hidden=False, rows=rows)

        def states(batch: dict[str, Tensor]) -> Signals:
            with torch.inference_mode(), machine.autocast():
                return Signals(listen(batch).logits, {}, {}, batch["output_mask"])

        asked = np.arange(len(examples)) if read is None else read
        groups = by_length(asked, examples.lengths, training.batch_tokens)
        tokens = int(examples.lengths[asked].sum())
        with progress(console, "ask the teacher once", tokens, rows="tokens", amount="tokens") as advance:
            batches = _batches(examples, groups, torch.device(device), advance)
            build_teacher_cache(folder, states, batches, len(examples), [])

    return store.get("teacher-states", facts, make), None


def states_bytes(
    store: FolderCache,
    teacher: PreTrainedModel | None,
    examples: Examples,
    run: TranslationRun,
    *,
    read: np.ndarray | None = None,
) -> tuple[int | None, str | None]:
    """Bytes of the states that `teacher_states` keeps; `None` if it keeps none, and perhaps why."""
    training, objective = run.training, run.objective
    if training.cache_teacher == "never" or not objective.beta1 or teacher is None:
        return None, None
    if objective.reads_layers:
        return None, "teacher outputs were not cached: hidden layers are compared in every step"
    if training.source_dropout:
        return None, "teacher outputs were not cached: each step leaves out other source tokens"
    tokens = examples.target.lengths if read is None else examples.target.lengths[read]
    size = 4 * int(tokens.sum()) * width_of(teacher)
    if training.cache_teacher == "auto":
        if _readings(examples, run) <= 1:
            return None, None
        if why_not := no_room(store, size, training.cache_gb):
            return None, why_not
    return size, None


def _readings(examples: Examples, run: TranslationRun) -> float:
    """About how often each pair is read by all seeds together."""
    training = run.training
    epochs = training.epochs or EPOCHS[0]
    if training.max_steps:
        epochs = training.max_steps * training.accumulate * training.batch_tokens / int(examples.lengths.sum())
    return epochs * len(run.seeds)


def _batches(
    examples: Examples, groups: Iterable[np.ndarray], device: torch.device, advance: Advance
) -> Iterator[dict[str, Tensor]]:
    for rows in groups:
        features = [{"id": int(n), "source": examples.source[n], "target": examples.target[n]} for n in rows]
        yield {name: value.to(device) for name, value in collate(features).items()}
        done = int(examples.lengths[rows].sum())
        advance(done, done)


def _fingerprint(examples: Examples, rows: Tensor | None) -> str:
    """SHA-256 of all tokens, the bounds of the sentences, and `rows`."""
    digest = hashlib.sha256()
    if rows is not None:
        digest.update(rows.numpy().tobytes())
    for side in (examples.source, examples.target):
        digest.update(side.starts.tobytes())
        digest.update(side.tokens.tobytes())
    return digest.hexdigest()
