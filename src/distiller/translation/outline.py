"""What `check` reports about a translation run: its text, and its models, built but not trained."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from distiller.config.translation import TranslationRun
from distiller.models.cost import parameter_count, times_smaller
from distiller.translation.beginning import Beginning
from distiller.translation.model import without_seed
from distiller.translation.objective import TranslationObjective, model_shapes
from distiller.translation.sequence import given_translations
from distiller.translation.students import build_student
from distiller.translation.translators import causal_config
from distiller.translation.words import Words


@dataclass(frozen=True)
class Outline:
    """A run before it starts: its text, and models of the right sizes, possibly without weights."""

    beginning: Beginning
    teacher: PreTrainedModel | None
    student: PreTrainedModel
    odd: list[str]
    """Warnings about the text and the existing translations."""
    given: int | None
    """Translations for the student that exist already; `None`: the teacher will be asked for them, if it has to."""
    possible: str
    """Which kinds of distillation are possible with this teacher and this student."""

    @property
    def run(self) -> TranslationRun:
        """The run."""
        return self.beginning.run

    def lines(self) -> Iterable[str]:
        """The outline as lines of text."""
        splits = self.beginning.splits
        counts = {"training": splits.train, "development": splits.dev, "test": splits.test}
        text = ", ".join(f"{len(pairs):,} {name} pairs" for name, pairs in counts.items() if pairs is not None)
        seen = f"; the student sees {len(splits.seen):,}" if len(splits.seen) < len(splits.train) else ""
        yield text + seen
        student = parameter_count(self.student)
        if self.teacher is None:
            yield f"student {student:,} parameters"
        else:
            teacher = parameter_count(self.teacher)
            yield f"teacher {teacher:,} parameters, student {student:,}: {times_smaller(teacher, student)}"
        yield f"this teacher and this student can do: {self.possible}"
        for word in self.odd:
            yield f"warning: {word}"


def outline(beginning: Beginning) -> Outline:
    """The models and the objective of a run. Raises the `DistillerError` with which the run would end."""
    run, words, teacher = beginning.run, beginning.words, beginning.teacher
    tokens = words.token_ids(teacher)
    if teacher is None and not run.teacher.says_only:
        with torch.device("meta"):
            teacher = without_seed(run.teacher.shape, words.token_ids(None))
    if run.teacher.prompt is not None and run.teacher.server is None:
        causal_config(str(run.teacher.model))
    given = given_translations(run, beginning.splits)
    there = beginning.teacher is not None and run.student.init == "teacher"  # weights that can be copied
    with torch.device("cpu" if there else "meta"):
        if run.student.init == "teacher":
            student = build_student(run.student, teacher, tokens=tokens, seed=0, rows=words.rows)
        else:
            student = without_seed(run.student.shape, tokens)
    TranslationObjective(
        run.objective, student=model_shapes(student), teacher=model_shapes(teacher) if teacher is not None else None
    )
    odd = [*beginning.odd, *(given.notes if given else [])]
    labels = None if given is None else len(given.labels)
    return Outline(beginning, teacher, student, odd, labels, what_is_possible(words, teacher))


def what_is_possible(words: Words, teacher: PreTrainedModel | None) -> str:
    """Which kinds of distillation are possible, in words."""
    if teacher is None:
        return "sequence-level (the teacher is known by its translations alone)"
    if words.teachers is None:
        return "sequence-level (word-level and hidden states need the teacher's vocabulary: vocabulary.of=teacher)"
    part = "" if words.rows is None else f", over the {len(words.rows)} pieces that are kept"
    return f"sequence-level, word-level and hidden states{part}"
