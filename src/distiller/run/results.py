"""The end of a run: its student is published and its Record written."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file
from torch import nn

from distiller.config import Run
from distiller.device import accelerator, describe_machine, peak_memory_megabytes
from distiller.models.cost import latency, megabytes, parameter_count
from distiller.models.folders import weights_fingerprint
from distiller.models.load import load_model
from distiller.models.students import initialisation
from distiller.record import (
    OUTCOMES,
    Comparison,
    Cost,
    DataFacts,
    EfficiencyRow,
    ModelFacts,
    Record,
    SeedResult,
    VocabularyFacts,
    git_revision,
    now,
    ratio,
    spread,
    spreads,
    versions,
)
from distiller.run.card import write_card
from distiller.run.jobs import machine
from distiller.run.plan import exchanges_words
from distiller.run.seeds import Trained, total
from distiller.run.setup import Setup
from distiller.run.verdict import Outcomes, compare, longer, shares, words
from distiller.run.vocabulary import vocabulary_line
from distiller.tasks.data import CROSSED, UNLABELLED
from distiller.tasks.encode import Collator, EncodedSplit
from distiller.tasks.windows import EncodedQuestions
from distiller.training.output_folder import SEEDS, STUDENT, publish
from distiller.training.shared_work import FineTuned

if TYPE_CHECKING:
    from distiller.run.seeds import Shared


@dataclass(frozen=True)
class Findings:
    """The parts of a Record that depend on the kind of task."""

    metric: str
    data: DataFacts
    teacher: ModelFacts | None
    parameters: tuple[int, int]
    """Of the student: without the task head, and with it."""
    megabytes: float
    start: str
    """Where the weights of the students come from, in words."""
    comparison: Comparison | None
    verdict: list[str]
    notes: list[str]
    milliseconds: dict[str, float]
    """Of one example at a time, by model."""
    efficiency: list[EfficiencyRow] = field(default_factory=list)
    signatures: dict[str, str] = field(default_factory=dict)
    vocabulary: VocabularyFacts | None = None


Find = Callable[[Path, list[FineTuned], list[Trained]], Findings]
"""Looks at the output folder with its published student, at the baselines and at the trained students."""


def finish(
    setup: "Shared",
    folder: Path,
    baseline: list[FineTuned],
    untaught: list[FineTuned],
    trained: list[Trained],
    started: float,
    find: Find,
) -> Record:
    """Put the best seed's student at the top of the output folder and write the Record."""
    by_seed = [one.result for one in trained]
    best = max(by_seed, key=lambda result: result.scores[setup.metric])
    publish(folder / SEEDS / str(best.seed) / STUDENT, folder / STUDENT)
    found = find(folder, baseline, trained)
    score = spread(result.scores[found.metric] for result in by_seed)
    record = Record(
        created=now(),
        run=setup.run,
        versions=versions(),
        revision=git_revision(),
        machine=describe_machine() | setup.machine.facts(),
        data=found.data,
        teacher=found.teacher,
        baseline=_alone(found, baseline, found.start),
        untaught_baseline=_alone(found, untaught, "layers of pretrained weights"),
        vocabulary=found.vocabulary,
        student=_student_facts(found, "student", by_seed, found.start, best.fingerprint),
        seeds=by_seed,
        metric=found.metric,
        score=score.mean,
        distillation_ratio=ratio(score.mean, found.teacher.scores.get(found.metric) if found.teacher else None),
        cost=_cost(trained, found.milliseconds, started),
        efficiency=found.efficiency,
        signatures=found.signatures,
        comparison=found.comparison,
        verdict=found.verdict,
        notes=[*found.notes, *sorted({note for one in trained for note in one.notes})],
    )
    write_card(record, folder / STUDENT)
    record.save(folder)
    return record


def _student_facts(
    found: Findings, name: str, by_seed: Sequence[SeedResult | FineTuned], start: str, own: str | None = None
) -> ModelFacts:
    """A student over all seeds; `own` is the fingerprint of the published one."""
    scores = spreads([one.scores for one in by_seed])
    return ModelFacts(
        name=name,
        parameters=found.parameters[0],
        parameters_with_head=found.parameters[1],
        megabytes=found.megabytes,
        scores={metric: value.mean for metric, value in scores.items()},
        spread=scores if len(by_seed) > 1 else {},
        fingerprint=own,
        steps=[one.steps for one in by_seed],
        best_steps=[one.best_step for one in by_seed],
        start=start,
    )


def _alone(found: Findings, tuned: list[FineTuned], start: str) -> ModelFacts | None:
    """The student without a teacher, if it was trained."""
    if not tuned:
        return None
    facts = _student_facts(found, "student without a teacher", tuned, start)
    return facts.model_copy(update={"histories": [one.history for one in tuned]})


def _cost(trained: list[Trained], milliseconds: dict[str, float], started: float) -> Cost:
    seconds = sum(one.seconds for one in trained)
    return Cost(
        wall_seconds=time.perf_counter() - started,
        training_seconds=[one.seconds for one in trained],
        step_milliseconds=1000 * seconds / sum(one.result.steps for one in trained),
        waiting_share=sum(one.seconds_waited for one in trained) / max(seconds, 1e-9),
        augmentation=total(one.augmentation for one in trained),
        examples_per_second=sum(one.examples_per_second for one in trained) / len(trained),
        peak_memory_megabytes=peak_memory_megabytes(),
        teacher_cache_megabytes=max(one.cache_megabytes for one in trained),
        milliseconds_per_example=milliseconds,
    )


def outcomes_of(
    teacher: np.ndarray | None, baseline: Sequence[FineTuned], trained: Sequence[Trained], gold: Any
) -> Outcomes:
    """The outcomes of all models on the development set."""
    return Outcomes(teacher, [one.outcome for one in baseline], [one.outcome for one in trained], gold)


def find(setup: Setup, folder: Path, baseline: list[FineTuned], trained: list[Trained]) -> Findings:
    """The findings for a task of encoders."""
    data = setup.data
    student = load_model(
        folder / STUDENT, kind=data.kind, labels=setup.plan.labels, attention=machine(setup.run).answering
    )
    found = outcomes_of(setup.teaching.outcome, baseline, trained, setup.splits["dev"].gold)
    keep_outcomes(found, setup.run.seeds, folder, gold=data.kind != "qa")
    comparison = compare(data, found)
    examples = {
        "teacher": (setup.teacher, _example(setup.teacher_splits["dev"], Collator(setup.plan.teacher_tokenizer))),
        "student": (student, _example(setup.splits["dev"], Collator(setup.plan.student_tokenizer))),
    }
    return Findings(
        metric=data.metric,
        data=DataFacts(
            task=data.name,
            kind=data.kind,
            labels=list(data.labels),
            metric=data.metric,
            examples=_examples(setup),
            soft=data.soft,
            unsure=data.unsure,
            truncated={name: split.truncated for name, split in setup.splits.items()},
            skipped=_skipped(setup),
            classes=shares(data, found.gold),
            fingerprint=data.fingerprint,
        ),
        teacher=_teacher_facts(setup),
        parameters=(parameter_count(student, head=False), parameter_count(student)),
        megabytes=megabytes(student),
        start=starting_point(setup.run),
        comparison=comparison,
        verdict=words(data, found, comparison, unlabelled=data.unlabelled, longer=longer(setup.run)),
        notes=_data_notes(setup, total(one.augmentation for one in trained)),
        vocabulary=setup.vocabulary,
        milliseconds={
            name: latency(nn.Module.to(model, accelerator()), text).milliseconds
            for name, (model, text) in examples.items()
            if model is not None
        },
    )


def _teacher_facts(setup: Setup) -> ModelFacts | None:
    """The teacher, or several as one: then sizes are their sums."""
    if setup.teacher is None or setup.run.teacher is None:
        return None
    tuned = [setup.teaching.tuned] if setup.teaching.tuned else []
    models = [setup.teacher, *(setup.other_teachers.models if setup.other_teachers else ())]
    return ModelFacts(
        name=" + ".join(setup.run.teacher.names),
        parameters=sum(parameter_count(model, head=False) for model in models),
        parameters_with_head=sum(parameter_count(model) for model in models),
        megabytes=sum(megabytes(model) for model in models),
        scores=setup.teaching.scores,
        fingerprint=weights_fingerprint(setup.teacher),
        steps=[one.steps for one in tuned],
        best_steps=[one.best_step for one in tuned],
        start="pretrained",
        histories=[one.history for one in tuned],
    )


def _examples(setup: Setup) -> dict[str, int]:
    """Rows by split; for question answering questions, however many windows each has.

    Training rows without a label are counted as `unlabelled` wherever they came from.
    """
    counts = {}
    for name, split in setup.splits.items():
        counts[name] = len(np.unique(split.questions)) if isinstance(split, EncodedQuestions) else len(split)
    return counts if setup.data.labelled else {"train": 0, UNLABELLED: counts["train"]} | {**counts, "train": 0}


def _skipped(setup: Setup) -> dict[str, int]:
    """Rows of each split that were left out when they were read or tokenized."""
    return total([setup.data.skipped, {name: split.skipped for name, split in setup.splits.items() if split.skipped}])


def _data_notes(setup: Setup, counts: Mapping[str, int]) -> list[str]:
    """What was truncated or left out, in words."""
    cut = [f"{split.cut_words} words of {name}" for name, split in setup.splits.items() if split.cut_words]
    skipped = [f"{count} rows of {name}" for name, count in _skipped(setup).items()]
    failed = {name: count for name, count in counts.items() if name.endswith(".failed") and count}
    return [
        *([vocabulary_line(setup.vocabulary)] if setup.vocabulary else []),
        *_notes_on_data(setup),
        *(
            f"augmentation: {name.removesuffix('.failed')} failed on {n} texts, left as they are"
            for name, n in failed.items()
        ),
        *(f"{what} are beyond the longest input and are not scored" for what in cut),
        *(f"{what} could not be used and were left out" for what in skipped),
    ]


def told_apart(models: Iterable[str]) -> dict[str, str]:
    """Short names of models by those that they were given: the last part, where it is another for each of them."""
    short = {name: Path(name).name for name in models}
    return short if len(set(short.values())) == len(short) else {name: name for name in short}


def _notes_on_data(setup: Setup) -> list[str]:
    """Whose answers the student learnt, and from what rows."""
    data = setup.data
    notes: list[str] = []
    if setup.other_teachers is not None:
        called = told_apart(setup.teaching.alone)
        alone = [f"{called[name]} {100 * score:.1f}" for name, score in setup.teaching.alone.items()]
        shares = ", ".join(f"{share:.2f}" for share in setup.other_teachers.shares)
        notes.append(
            f"{len(alone)} teachers are averaged with the shares {shares}; alone they have {', '.join(alone)}. Layers, "
            f"and the time for an example, are those of {next(iter(called.values()))}"
        )
    if data.soft:
        instead = (
            "of these the student learnt what they say" if setup.teacher is None else "which came before the teacher"
        )
        notes.append(
            f"{data.soft} training rows bring probabilities of {', '.join(data.labels)} along, in this order: {instead}"
        )
    if data.unsure:
        notes.append(f"{data.unsure} rows were left out: no class was as probable as {setup.run.task.min_confidence:g}")
    if CROSSED in data.splits:
        exchanged = ", and some other words" if exchanges_words(setup.run, data) else ""
        made = f"more texts have the beginning of one training text and the end of another{exchanged}"
        if data.kind == "qa":
            made = "more questions begin like others and end in words of their context, or are other contexts' own"
        notes.append(f"{len(data.splits[CROSSED]):,} {made}: of them the student learnt what the teacher says")
    if setup.run.taught_words:
        notes.append("the student's word vectors have learnt from the teacher's (`taught_words`)")
    return [*notes, *_notes_on_unlabelled(setup)] if data.unlabelled else notes


def _notes_on_unlabelled(setup: Setup) -> list[str]:
    """How many rows have no label, and which models learnt from them."""
    data = setup.data
    notes: list[str] = []
    said = "" if setup.teacher is None else ": of them the student learnt what the teacher says"
    notes.append(f"{data.unlabelled} of {data.labelled + data.unlabelled} training rows have no label{said}")
    if not data.labelled:
        notes.append("no training row has a label, so there is no baseline without a teacher")
    elif setup.run.baseline or setup.plan.tunes():
        notes.append(f"what is fine-tuned, teacher or baseline, has seen the {data.labelled} labelled rows alone")
    if data.repeated:
        notes.append(f"{data.repeated} texts without labels are also in another split and were left out")
    return notes


def _example(split: EncodedSplit, collate: Collator) -> dict[str, Any]:
    """The development text of median length as a batch of one, on the model's device."""
    middle = sorted(range(len(split)), key=lambda row: split.lengths[row])[len(split) // 2]
    batch = collate([split[middle]])
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: batch[name].to(accelerator()) for name in names if name in batch}


def starting_point(run: Run) -> str:
    """Where the student's weights come from, in words."""
    return {
        "pretrained": "pretrained weights",
        "teacher": "layers of the fine-tuned teacher",
        "random": "random weights",
    }[initialisation(run.student)]


def keep_outcomes(found: Outcomes, seeds: Sequence[int], folder: Path, *, gold: bool) -> None:
    """Write the outcomes of every model on the development set, so that any two can be compared later."""
    said: dict[str, np.ndarray] = {}
    if found.teacher is not None:
        said["teacher"] = found.teacher
    for role, by_seed in (("baseline", found.baseline), ("student", found.student)):
        for seed, outcome in zip(seeds, by_seed, strict=False):
            said[f"{role}-{seed}"] = outcome
    if gold:
        said["gold"] = np.asarray(found.gold)
    save_file({name: np.ascontiguousarray(outcome) for name, outcome in said.items()}, folder / OUTCOMES)
