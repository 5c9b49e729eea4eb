"""A run in full: open fields filled in, options checked, consecutive trainings written out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from distiller import config
from distiller.augment import build_policy, check_policy
from distiller.config import Run
from distiller.config.models import OtherTeacher
from distiller.device import compute
from distiller.errors import ConfigError
from distiller.models.folders import load_config, load_tokenizer
from distiller.models.heads import HEADS, has_head_for, head_names, with_labels
from distiller.models.layers import summary_token
from distiller.models.layouts import Summary, check_known, incomparable
from distiller.models.load import check_vocabulary, longest_input
from distiller.models.students import initialisation, same_vocabulary, source_of, student_config, student_tokenizer
from distiller.models.taught_words import has_words, whole_words
from distiller.models.vocabulary import Vocabulary, with_vocabulary
from distiller.run.data_checks import check_data, check_objective, check_pace, check_stages, check_views
from distiller.run.model_checks import check_models
from distiller.run.stages import Stage, stages_of
from distiller.run.vocabulary import task_vocabulary
from distiller.tasks import load_task
from distiller.tasks.crossover import usual_crossovers, with_crossed
from distiller.tasks.data import TaskData
from distiller.tasks.tokens import LONGEST, readable, usual_max_length
from distiller.tasks.transfer import with_gold_as_soft
from distiller.training.defaults import filled_in
from distiller.training.objective import DistillationObjective, model_shape
from distiller.training.pace import learning_rate, patient_steps
from distiller.training.trackers import check_trackers


@dataclass(frozen=True)
class RunPlan:
    """A resolved run and the shapes of its models: everything that can be known without large weights."""

    run: Run
    data: TaskData
    teacher: PretrainedConfig | None
    """`None`: the rows carry the answers to imitate."""
    student: PretrainedConfig
    teacher_tokenizer: PreTrainedTokenizerBase
    student_tokenizer: PreTrainedTokenizerBase
    shared_tokens: bool
    """Whether teacher and student read the same tokens, under the same ids."""
    token_by_token: bool
    """Whether each token of the student has one of the teacher, in every training text: token t itself, or …"""
    by_characters: bool
    """… where both read other pieces, the one that has its first character."""
    vocabulary: Vocabulary | None = None
    """What is left of the student's vocabulary, where it was cut."""

    @property
    def max_length(self) -> int:
        """The longest input in tokens."""
        assert self.run.task.max_length is not None
        return self.run.task.max_length

    @property
    def labels(self) -> list[str] | None:
        """Class or tag names; `None` if labels are not from a set."""
        return self.data.label_names

    @cached_property
    def taught(self) -> TaskData:
        """The rows as the student learns from them: without a teacher, a label alone means probability 1."""
        return with_gold_as_soft(self.data) if self.teacher is None else self.data

    def tunes(self, spec: config.Teacher | None = None) -> bool:
        """Whether a teacher, by default the run's first, is fine-tuned before it teaches."""
        spec = self.run.teacher if spec is None else spec
        if spec is None:
            return False
        return spec.finetune == "always" or not has_head_for(
            spec.model, kind=self.data.kind, labels=self.labels, trust_remote_code=spec.trust_remote_code
        )

    @property
    def summaries(self) -> tuple[Summary, Summary]:
        """Which token stands for a whole text, in the student and in the teacher."""
        return summary_token(self.student), summary_token(self.teacher or self.student)

    @property
    def patient(self) -> int:
        """The fewest steps of the student where the run does not say, if its teacher alone has answered most texts."""
        texts = sum(map(len, self.data.transfer))
        if self.teacher is None or 2 * self.data.labelled >= texts:
            return 0
        return patient_steps(self.teacher, self.student)

    def objective(self, stage: Stage) -> DistillationObjective:
        """The objective of `stage` for these models, to ask what fits and what it reads; uses no random state."""
        with torch.random.fork_rng(devices=[]):
            return DistillationObjective(
                stage.objective,
                student=model_shape(self.student),
                teacher=None if self.teacher is None else model_shape(self.teacher),
                kind=self.data.kind,
            )


def make_plan(run: Run) -> RunPlan:
    """Check `run` against its data and models, before anything is trained. Raises `DistillerError`."""
    spec = run.teacher
    teacher = None if spec is None else load_config(spec.model, trust_remote_code=spec.trust_remote_code)
    data = load_task(run.task, head=[] if teacher is None else head_names(teacher))
    if teacher is None:
        with_gold_as_soft(data)  # refuses rows without information
    labels = data.label_names
    if teacher is not None:
        check_known(teacher)
    read = None if spec is None else load_tokenizer(spec.model, trust_remote_code=spec.trust_remote_code)
    tokenizer = student_tokenizer(run.student, read)
    student = student_config(run.student, teacher=teacher, tokenizer=tokenizer)
    readers: list[tuple[str, PreTrainedTokenizerBase, PretrainedConfig]] = []
    if teacher is not None and read is not None:
        readers.append(("the teacher", read, teacher))
    readers.append(("the student", tokenizer, student))
    data = readable(data, run.task, readers)
    run, data = _with_max_length(run, data, [one[1] for one in readers], [one[2] for one in readers])
    run = run.model_copy(update={"crossovers": _crossovers(run, data, teacher, student)})
    words = whole_words(tokenizer) if run.crossovers and exchanges_words(run, data) else []
    data = with_crossed(data, run.crossovers or 0, seed=run.task.split_seed, words=words)
    one_by_one = read is None or same_vocabulary(tokenizer, read)
    by_characters = not one_by_one and _by_characters(run, data, tokenizer, read)
    taught = _taught_words(run, data, teacher, student, same=one_by_one or by_characters)
    run = run.model_copy(update={"taught_words": taught})
    vocabulary = None
    if run.student.vocabulary is not None:
        check_vocabulary(tokenizer, student, "student")
        vocabulary, covers = task_vocabulary(run, data, tokenizer, student)
        tokenizer, student = vocabulary.tokenizer, with_vocabulary(student, vocabulary)
        by_characters = by_characters or (not covers and _by_characters(run, data, tokenizer, read))
        one_by_one = one_by_one and covers
    teacher_tokenizer = read or tokenizer
    states = not any(shape is not None and incomparable(shape) for shape in (teacher, student))
    run = resolve(run, data, token_by_token=one_by_one or by_characters, states=states)
    made = RunPlan(
        run=_with_rates(run, teacher=teacher, student=student),
        data=data,
        teacher=None if teacher is None else with_labels(teacher, kind=data.kind, labels=labels),
        student=student,
        teacher_tokenizer=teacher_tokenizer,
        student_tokenizer=tokenizer,
        shared_tokens=read is None or (vocabulary is None and one_by_one),
        token_by_token=one_by_one or by_characters,
        by_characters=by_characters,
        vocabulary=vocabulary,
    )
    check_data(made)
    check_models(made)
    compute(made.run.training.precision, made.run.training.attention)  # refuses what this machine lacks
    build_policy(made.run.augmentation).prepare()  # likewise what operators need
    return made


def resolve(run: Run, data: TaskData, *, token_by_token: bool = True, states: bool = True) -> Run:
    """`run` with open fields filled in for this task, checked for options that contradict each other.

    `token_by_token`: each token of the student corresponds to one of the teacher. `states`: layers of both can be
    compared.
    """
    check_stages(run)
    task = run.task.model_copy(update=data.columns)
    if data.null_answers:
        task = task.model_copy(update={"null_answers": True})
    if (data.unlabelled or data.soft) and task.name == "custom" and data.labels:  # they may be those of the teacher
        task = task.model_copy(update={"labels": list(data.labels)})
    operators = list(check_policy(run.augmentation))
    labelled = data.labelled > 0
    fill_in = partial(
        filled_in,
        kind=data.kind,
        operators=operators,
        labelled=labelled,
        layers=run.teacher is not None and states,
        tokens=token_by_token,
        recipe=run.recipe,
    )
    stages = [stage.model_copy(update={"objective": fill_in(stage.objective)}) for stage in run.stages]
    objective = run.objective if stages else fill_in(run.objective)
    update = {"task": task, "objective": objective, "stages": stages, "baseline": run.baseline if labelled else False}
    resolved = run.model_copy(update=update)
    if run.teacher is not None:
        check_pace(run.teacher.training, "teacher.training")
    for stage in stages_of(resolved):
        check_trackers(stage.training.report_to)
        check_pace(stage.training, "training")
        check_objective(stage.objective, stage.training)
        check_views(stage.objective, operators)
    return resolved


def _with_max_length(
    run: Run, data: TaskData, tokenizers: Sequence[PreTrainedTokenizerBase], shapes: Sequence[PretrainedConfig]
) -> tuple[Run, TaskData]:
    """`run` with its longest input, and `data` with a note if that is more than the published one."""
    if run.task.max_length is not None:
        return run, data
    limit = min(map(longest_input, shapes))
    length = usual_max_length(data, run.task, tokenizers, limit=limit)
    if length > data.published_max_length:
        note = f"task.max_length is taken to be {length}, for texts as long as these"
        if length == LONGEST < limit:
            note += f"; {min(2 * LONGEST, limit)} reads more of the longest, and takes two to four times as long"
        data = replace(data, notes=(*data.notes, note))
    return run.model_copy(update={"task": run.task.model_copy(update={"max_length": length})}), data


def _crossovers(run: Run, data: TaskData, teacher: PretrainedConfig | None, student: PretrainedConfig) -> int:
    """Crossed texts per training text. Raises `ConfigError` if some are requested and cannot be made."""
    if run.crossovers and run.teacher is None:
        raise ConfigError("`crossovers` makes texts that a teacher answers, and the run has none", hint="crossovers=0")
    if run.crossovers and not any(objective.beta1 for objective in run.objectives):
        raise ConfigError("objective.beta1 is 0: nothing would label the crossed texts", hint="crossovers=0")
    if run.crossovers is not None:
        return run.crossovers
    ours = all(objective.defaults == "distiller" and objective.beta1 for objective in run.objectives)
    said = any(stage.training.epochs or stage.training.max_steps for stage in stages_of(run))
    if teacher is None or run.augmentation or said or not ours:
        return 0
    layers = student.num_hidden_layers + 1  # what the default objective reads of the teacher, in numbers of 4 bytes
    room = run.training.cache_gb * 1e9 / (4 * teacher.hidden_size * layers)
    return usual_crossovers(data, tokens=room if run.training.cache_teacher == "auto" else math.inf)


def _by_characters(
    run: Run, data: TaskData, student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase | None
) -> bool:
    """Whether tokens of both models can be located in the text, so that each of the student's has one of the teacher's.

    Tokens of mixed examples have no characters.
    """
    fast = teacher is not None and all(tokenizer.is_fast for tokenizer in (student, teacher))
    return fast and "mixup" not in check_policy(run.augmentation)


def exchanges_words(run: Run, data: TaskData) -> bool:
    """Whether crossed texts have other words of the vocabulary: for a tagger, unless it is to be cut to these texts."""
    return data.kind == "tagging" and run.student.vocabulary is None


def _taught_words(
    run: Run, data: TaskData, teacher: PretrainedConfig | None, student: PretrainedConfig, *, same: bool
) -> bool:
    """Whether the student's embeddings learn from the teacher's. Raises `ConfigError` if requested but impossible.

    `same`: each token has one of the teacher, before any of the vocabulary is cut.
    """
    wish = run.taught_words
    if wish is None:
        spec = run.teacher
        own = spec is not None and initialisation(run.student) != "teacher" and source_of(run.student) != spec.model
        ours = all(objective.defaults == "distiller" for objective in run.objectives)
        hears = any(objective.beta1 or objective.intermediate for objective in run.objectives)
        wish = own and ours and hears and same and data.kind != "tagging"  # it does harm there: docs/results.md
    why = None
    if teacher is None:
        why = "the run has no teacher"
    elif wish and not all(has_words(HEADS[data.kind], shape) for shape in (teacher, student)):
        why = "teacher or student has no plain table of tokens"
    if run.taught_words and why:
        raise ConfigError(f"`taught_words` needs the teacher's word vectors, and {why}", hint="taught_words=false")
    return wish and why is None


def _with_rates(run: Run, *, teacher: PretrainedConfig | None, student: PretrainedConfig) -> Run:
    """`run` with open learning rates filled in, which follow from the kind of model."""
    random = initialisation(run.student) == "random"
    rate = run.training.learning_rate or learning_rate(student, pretrained=not random)
    run = run.model_copy(update={"training": run.training.model_copy(update={"learning_rate": rate})})
    if run.teacher is None or teacher is None:
        return run
    rate = run.teacher.training.learning_rate or learning_rate(teacher, pretrained=True)
    tuning = run.teacher.training.model_copy(update={"learning_rate": rate})
    others: list[OtherTeacher] = []
    for one in run.teacher.others:
        shape = load_config(one.model, trust_remote_code=one.trust_remote_code)
        rate = one.learning_rate or run.teacher.training.learning_rate or learning_rate(shape, pretrained=True)
        others.append(one.model_copy(update={"learning_rate": rate}))
    return run.model_copy(update={"teacher": run.teacher.model_copy(update={"training": tuning, "others": others})})
