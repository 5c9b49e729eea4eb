"""What is different about a run that translates: its students, baselines, scores, sizes and speeds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.console import Console
from transformers import PreTrainedModel

from distiller import processes
from distiller.cache.teacher_outputs import TeacherCache
from distiller.config.translation import TranslationRun
from distiller.device import Compute, compute
from distiller.files import write_sums
from distiller.models.cost import megabytes, parameter_count
from distiller.models.eight_bits import EightBits
from distiller.models.folders import weights_fingerprint
from distiller.record import DataFacts, EfficiencyRow, ModelFacts
from distiller.run.results import Findings, keep_outcomes, outcomes_of
from distiller.run.seeds import Trained
from distiller.run.stages import Stage
from distiller.run.verdict import Outcomes, compared, gain_words, longer
from distiller.tasks.outcomes import paired_difference
from distiller.training.fit import Fit
from distiller.training.output_folder import STUDENT, publish
from distiller.training.shared_work import FineTuned, TeacherOutputs
from distiller.translation.beginning import Beginning, longest_here
from distiller.translation.corpus import Splits
from distiller.translation.efficiency import efficiency
from distiller.translation.engines import choose_engine
from distiller.translation.gold import gold_data, gold_training, shape_facts, trained_teacher
from distiller.translation.scores import METRIC, bleu_of
from distiller.translation.sequence import given_translations, mixed_examples, pseudo_pairs
from distiller.translation.shortlist import lexical_shortlist
from distiller.translation.students import build_student, load_translator, save_translator
from distiller.translation.teacher_states import teacher_states
from distiller.translation.tokenizer import TranslationTokenizer
from distiller.translation.training_data import TranslationData
from distiller.translation.translate import Examined, examine
from distiller.translation.words import Words

TEACHER = "teacher"
"""Where a teacher stands that the run trained."""
MORE = "more text without translations (`task.monolingual`)"
CHANGE = "the teacher's translations as targets (`sequence`)"
"""What to try where distilling did not pay."""
NOTHING = "The teacher has learnt nothing: 0.0. Its students cannot learn it from it: {cure}."
"""Of a teacher none of whose translations is like the right one."""
USELESS = "The distilled student is of no use: 0.0 on the development sentences. Train it longer (`{longer}`)."
"""Of such a student."""
START = {"random": "random weights", "teacher": "layers of the teacher"}


@dataclass(frozen=True)
class TranslationWork:
    """What all seeds of a run share."""

    beginning: Beginning
    teacher: PreTrainedModel | None
    """`None`: nothing is known of it but its translations."""
    teacher_tokenizer: TranslationTokenizer | None
    teacher_folder: Path | None
    """Where a teacher lies that was trained for this run."""
    teacher_fit: Fit | None
    """How that training went."""
    teacher_scores: dict[str, float]
    """Of one that is no model here, where it translated the development text."""
    training_data: TranslationData
    """Of the student."""
    pseudo: int
    """Pseudo-labelled pairs among them."""
    teacher_cache: Path | None
    """What the teacher says of them, where that is kept."""
    notes: list[str]
    """What the Record should say of all this."""
    console: Console | None

    @property
    def run(self) -> TranslationRun:
        """The run."""
        return self.beginning.run

    @property
    def splits(self) -> Splits:
        """Its text."""
        return self.beginning.splits

    @property
    def words(self) -> Words:
        """How the student reads and writes."""
        return self.beginning.words

    @property
    def tokenizer(self) -> TranslationTokenizer:
        """The student's."""
        return self.words.tokenizer

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return METRIC

    @property
    def machine(self) -> Compute:
        """How this machine computes."""
        return compute(self.run.training.precision, "sdpa")

    @property
    def other_teachers(self) -> None:
        """None; translations of several are combined elsewhere (`sequence.pseudo_labels`)."""
        return None

    def new_student(self, seed: int) -> PreTrainedModel:
        """A student before its training."""
        tokens = self.words.token_ids(self.teacher)
        return build_student(self.run.student, self.teacher, tokens=tokens, seed=seed, rows=self.words.rows)

    def teach_words(self, student: PreTrainedModel) -> None:
        """Does nothing: the student has a vocabulary of its own."""

    def eight_bits(self, student: PreTrainedModel) -> EightBits:
        """Rounding as in CTranslate2's 8 bits."""
        return EightBits(student)

    def job(self, seed: int) -> TranslationData:
        """Pairs, gold or translated by the teacher; those of all seeds."""
        return self.training_data

    def baseline(self, seed: int, *, untaught: bool = False) -> FineTuned:
        """The same student from the same start, trained on gold pairs alone; made once for all runs that need it."""
        wish = self.run.student
        if wish.init == "teacher" and self.teacher is not None:
            model = wish.model_dump(mode="json") | {"teacher": weights_fingerprint(self.teacher)}
        else:
            model = shape_facts(wish.shape)
        folder, done = gold_training(
            self.beginning.store,
            model,
            self.run.training,
            gold_data(self.tokenizer, self.splits.seen, self.splits.dev, self.run, self.beginning.store),
            seed=seed,
            title=f"train the student without a teacher, seed {seed}",
            console=self.console,
            start=lambda: self.new_student(seed),
        )
        scores, outcome = processes.from_first(lambda: self.examine(load_translator(folder)[0], {}))
        return FineTuned(folder, scores, outcome, done.steps, done.best_step, done.history)

    def outputs(self, stage: Stage) -> TeacherOutputs:
        """The last decoder states of the teacher on all pairs, where they are kept."""
        return TeacherOutputs(cache=TeacherCache(self.teacher_cache) if self.teacher_cache else None)

    def save(self, student: PreTrainedModel, folder: Path) -> None:
        """Write a model folder with the checksums of its files."""
        save_translator(student, self.tokenizer, folder)
        write_sums(folder)

    def examine(self, student: PreTrainedModel, scores: Mapping[str, float]) -> tuple[dict[str, float], np.ndarray]:
        """Scores with the search that the run asks for, not the greedy one used in training."""
        found = self._examined(student)
        return found.scores, found.counts

    def _examined(self, model: PreTrainedModel, *, teacher: bool = False) -> Examined:
        tokenizer = self.teacher_tokenizer if teacher else self.tokenizer
        assert tokenizer is not None
        return examine(model, tokenizer, self.splits.dev, self.splits.test, self.run.evaluation)

    @cached_property
    def examined_teacher(self) -> Examined | None:
        """The teacher's translations; `None` if it is not a model on this machine."""
        return None if self.teacher is None else self._examined(self.teacher, teacher=True)

    def find(self, folder: Path, baseline: list[FineTuned], trained: list[Trained]) -> Findings:
        """The findings of the run, once its student is in `folder`."""
        run = self.run
        if self.teacher_folder is not None:
            publish(self.teacher_folder, folder / TEACHER)
        student = load_translator(folder / STUDENT)[0]
        theirs = self.examined_teacher
        found = outcomes_of(theirs.counts if theirs else None, baseline, trained, None)
        keep_outcomes(found, run.seeds, folder, gold=False)
        comparison = compared(
            found, lambda ours, others: paired_difference(lambda counts, rows: bleu_of(counts[rows]), ours, others)
        )
        verdict = useless(found, run)
        verdict += gain_words(found, comparison, scale=1.0, more=MORE, change=CHANGE, longer=longer(run))
        table = self._efficiency(student)
        parameters = parameter_count(student)
        signatures = theirs.signatures if theirs else self._examined(student).signatures
        return Findings(
            metric=METRIC,
            data=self._data(),
            teacher=self._teacher_facts(),
            parameters=(parameters, parameters),
            megabytes=megabytes(student),
            start=START[run.student.init],
            comparison=comparison,
            verdict=verdict,
            notes=self.notes,
            milliseconds=first_latencies(table),
            efficiency=table,
            signatures=signatures,
        )

    def _efficiency(self, student: PreTrainedModel) -> list[EfficiencyRow]:
        if not self.run.efficiency:
            return []
        if self.console is not None:
            self.console.print("measure sizes and speeds in every engine", markup=False)
        models = {"student": (student, self.tokenizer)}
        if self.teacher is not None and self.teacher_tokenizer is not None:
            models = {"teacher": (self.teacher, self.teacher_tokenizer), **models}
        shortlists = {}
        if choose_engine(self.run.evaluation.engine) == "ctranslate2":
            learnt = self.training_data.examples
            shortlists["student"] = lexical_shortlist(learnt.source, learnt.target)
        return efficiency(models, self.splits.test or self.splits.dev, self.run.evaluation, shortlists)

    def _teacher_facts(self) -> ModelFacts | None:
        """Of a service or a file the size is unknown, and of some even the score."""
        spec, theirs = self.run.teacher, self.examined_teacher
        if theirs is not None and self.teacher is not None:
            parameters = parameter_count(self.teacher)
            trained = [self.teacher_fit] if self.teacher_fit else []
            return ModelFacts(
                name=spec.model or spec.shape.architecture,
                parameters=parameters,
                parameters_with_head=parameters,
                megabytes=megabytes(self.teacher),
                scores=theirs.scores,
                fingerprint=weights_fingerprint(self.teacher),
                steps=[one.steps for one in trained],
                best_steps=[one.best_step for one in trained],
                histories=[one.history for one in trained],
                start="random weights" if trained else None,
            )
        scores = self.teacher_scores
        if not scores:
            return None
        name = spec.model or ", ".join(spec.files)
        return ModelFacts(name=name, parameters=0, parameters_with_head=0, megabytes=0.0, scores=scores)

    def _data(self) -> DataFacts:
        splits = self.splits
        counts = {"train": len(splits.train), "seen": len(splits.seen), "dev": len(splits.dev)}
        counts |= {"test": len(splits.test)} if splits.test else {}
        counts |= {"monolingual": sum(map(len, splits.monolingual))} if splits.monolingual else {}
        counts |= {"monolingual_target": sum(map(len, splits.backward))} if splits.backward else {}
        counts |= {"pseudo": self.pseudo} if self.pseudo else {}
        return DataFacts(
            task=Path(self.run.task.train.source).name,
            kind="translation",
            labels=[],
            metric=METRIC,
            examples=counts,
            truncated={},
            skipped=splits.skipped,
            fingerprint=splits.fingerprint,
            vocabulary=self.tokenizer.fingerprint,
            vocabulary_size=len(self.tokenizer),
        )


def prepare(beginning: Beginning, console: Console | None) -> TranslationWork:
    """Make or find the teacher and its translations. Raises `DistillerError`."""
    run, store, splits, words = beginning.run, beginning.store, beginning.splits, beginning.words
    teacher, tokenizer, folder, trained = beginning.teacher, beginning.teacher_tokenizer, None, None
    if teacher is None and not run.teacher.says_only:
        folder, trained = trained_teacher(run, splits, words.tokenizer, store, console)
        teacher, tokenizer = load_translator(folder)
    given = given_translations(run, splits)
    pseudo = pseudo_pairs(run, splits, tokenizer, teacher, store, console, given)
    data = replace(gold_data(words.tokenizer, splits.seen, splits.dev, run, store), rows=words.rows)
    notes = [f"{count} sentences of {name} were left out" for name, count in splits.skipped.items()]
    notes += [*beginning.odd, *pseudo.notes]
    if run.sequence is not None:
        examples, overlong = mixed_examples(data.examples, pseudo, run, words.tokenizer, longest_here(run, teacher))
        data = replace(data, examples=examples, gold_ratio=run.sequence.gold_ratio)
        if overlong:
            notes.append(f"{overlong} pseudo-labels are longer than a model takes: left out")
    read = data.rows_read(run.training, run.seeds)
    kept, why_not = teacher_states(store, teacher, data.examples, run, console, rows=words.rows, read=read)
    return TranslationWork(
        beginning=beginning,
        teacher=teacher,
        teacher_tokenizer=tokenizer,
        teacher_folder=folder,
        teacher_fit=trained,
        teacher_scores=pseudo.scores,
        training_data=data,
        pseudo=len(data.examples) - data.examples.gold,
        teacher_cache=kept,
        notes=[*notes, *([why_not] if why_not else [])],
        console=console,
    )


def useless(found: Outcomes, run: TranslationRun) -> list[str]:
    """What to say where teacher or student translates nothing right, going by what sentences count for BLEU."""
    if found.teacher is not None and bleu_of(found.teacher) < 0.05:  # as it is printed
        trained = run.teacher.model is None
        cure = "train it longer (`teacher.training`), or take another one" if trained else "take another one"
        return [NOTHING.format(cure=cure)]
    if all(bleu_of(counts) < 0.05 for counts in found.student):
        return [USELESS.format(longer=longer(run))]
    return []


def first_latencies(table: list[EfficiencyRow]) -> dict[str, float]:
    """Milliseconds of one sentence by model, in the first form that was measured."""
    found: dict[str, float] = {}
    for row in table:
        if row.latency_p50 is not None:
            found.setdefault(row.model, row.latency_p50)
    return found
