"""What a run that translates will cost: the steps of each training, memory, disk and, on request, time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from distiller.config.translation import Objective, Optimisation
from distiller.device import Compute, compute
from distiller.forecast.cost import Cost, Phase, output_bytes, present_process, timed_passes
from distiller.models.cost import parameter_count, training_memory
from distiller.translation.batches import Examples, collate
from distiller.translation.gold import GOLD_ALONE, gold_data
from distiller.translation.outline import Outline
from distiller.translation.teacher_states import states_bytes
from distiller.translation.training_data import DECODING, TranslationData

TIMED = 4
"""Batches that are timed for each model, after one that is not."""


@dataclass(frozen=True, kw_only=True)
class TranslationForecast(Cost):
    """What a run that translates takes, without the time in which the teacher translates for the student."""

    outline: Outline

    def lines(self) -> Iterable[str]:
        """For people."""
        yield from self.outline.lines()
        yield from self.cost_lines()
        if self.outline.run.sequence is not None and self.seconds is not None:
            yield "          besides, the teacher translates the student's sentences once"


def of_translation(outline: Outline, *, timed: bool) -> TranslationForecast:
    """Size a run that can start."""
    beginning, run = outline.beginning, outline.beginning.run
    splits, tokenizer, store = beginning.splits, beginning.words.tokenizer, beginning.store
    machine = compute(run.training.precision, "sdpa")
    teacher, student, seeds = outline.teacher, outline.student, len(run.seeds)
    gold = gold_data(tokenizer, splits.seen, splits.dev, run, store)
    learnt = _with_translations(gold, outline)
    kept, _ = states_bytes(store, teacher, learnt.examples, run, read=learnt.rows_read(run.training, run.seeds))
    clock = _Clock(machine) if timed else None
    made = [teacher] if beginning.teacher is None and teacher is not None else []
    taught = teacher if run.objective.compares else None
    phases = [
        _phase("teacher", one, gold_data(tokenizer, splits.train, splits.dev, run, store), run.teacher.training, clock)
        for one in made
    ]
    if run.baseline:
        phases.append(_phase("baseline", student, gold, run.training, clock, times=seeds))
    asked = None if kept is not None else taught
    phases.append(
        _phase("student", student, learnt, run.training, clock, run.objective, times=seeds, asked=asked, beside=taught)
    )
    once = 0.0
    if clock is not None and taught is not None and kept is not None:
        once = len(learnt.examples) * clock.reading(taught, learnt, run.training)
    weights, largest = parameter_count(student), max(map(parameter_count, [student, *made]))
    stored = sum(map(parameter_count, made)) + (weights * seeds if run.baseline else 0)
    return TranslationForecast(
        run=run,
        outline=outline,
        phases=phases,
        once=once,
        process=present_process(),
        cache=4 * stored + (kept or 0),
        output=output_bytes(weights, largest, seeds) + 4 * sum(map(parameter_count, made)),
        machine=str(machine),
    )


def _with_translations(gold: TranslationData, outline: Outline) -> TranslationData:
    """The student's examples, with a gold pair in place of each one that the teacher translated or will translate."""
    run, splits = outline.run, outline.beginning.splits
    if run.sequence is None:
        return gold
    asked = sum(map(len, [splits.seen, *splits.monolingual])) if outline.given is None else outline.given
    rows = np.resize(np.arange(len(gold.examples)), asked + sum(map(len, splits.backward)))
    source, target = gold.examples.source, gold.examples.target
    examples = Examples(source + source.take(rows), target + target.take(rows), gold=len(source))
    if run.sequence.gold_ratio == 0:
        examples = Examples(source.take(rows), target.take(rows), gold=0)
    return replace(gold, examples=examples, gold_ratio=run.sequence.gold_ratio)


def _phase(
    name: str,
    model: PreTrainedModel,
    data: TranslationData,
    training: Optimisation,
    clock: "_Clock | None",
    objective: Objective = GOLD_ALONE,
    *,
    times: int = 1,
    asked: PreTrainedModel | None = None,
    beside: PreTrainedModel | None = None,
) -> Phase:
    """A training of `model`. The teacher: `asked` where it answers in each step, `beside` where it is in memory."""
    pace, _ = data.pace(training, objective, seed=0)
    longest = int(data.examples.lengths.max())
    half = compute(training.precision, "sdpa").precision != "fp32"
    size = training_memory(
        model.config, length=longest, batch=max(1, training.batch_tokens // longest), teacher=_shape(beside), half=half
    )
    size += round(2e6 * training.chunk_megabytes)  # scores over the vocabulary, and their gradient
    seconds = None
    if clock is not None:
        learning, reading = clock.times(model, data, training)
        if asked is not None:
            learning += clock.reading(asked, data, training) * data.stream(training, seed=0).examples_per_batch
        seconds = training.accumulate * learning + DECODING * data.dev * reading / pace.every
    return Phase(name, pace.floor, pace.ceiling, times, size, seconds)


class _Clock:
    """Times a few batches of each model."""

    def __init__(self, here: Compute) -> None:
        self.here = here

    def times(
        self, model: PreTrainedModel, data: TranslationData, training: Optimisation, *, learn: bool = True
    ) -> tuple[float, float]:
        """Seconds of an optimisation step on a batch (0 unless `learn`), and of reading one pair."""
        stream = data.stream(training, seed=0)
        room = 1e6 * training.chunk_megabytes / (4 * model.config.vocab_size)  # tokens whose scores are held at a time
        batches = [
            _part(collate(stream[index], pad=data.tokenizer.pad), most=room)
            for index in np.linspace(0, stream.per_epoch - 1, min(TIMED, stream.per_epoch)).astype(int)
        ]
        learning, reading = timed_passes(model, batches, self.here, learn=learn)
        pairs = sum(len(batch["labels"]) for batch in batches) / len(batches)
        return learning * stream.examples_per_batch / pairs, reading / pairs

    def reading(self, teacher: PreTrainedModel, data: TranslationData, training: Optimisation) -> float:
        """Seconds in which the teacher reads one pair."""
        return self.times(teacher, data, training, learn=False)[1]


def _part(batch: Mapping[str, Tensor], *, most: float) -> dict[str, Tensor]:
    """The first pairs of a batch, with at most so many tokens on the target side."""
    pairs = max(1, int(most // batch["labels"].shape[1]))
    return {name: batch[name][:pairs] for name in ("input_ids", "attention_mask", "labels")}


def _shape(model: PreTrainedModel | None) -> PretrainedConfig | None:
    return None if model is None else model.config
