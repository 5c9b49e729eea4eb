"""What a distilled model scores on a split of its task, and predicts for a leaderboard."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers.utils import logging as transformers_logging

from distiller.config import Run, Task
from distiller.config.translation import TranslationRun
from distiller.errors import ConfigError, DataError, ModelError, OutputError, did_you_mean, warn
from distiller.inference import Predictor, model_and_run
from distiller.models.folders import load_tokenizer
from distiller.models.heads import has_head_for
from distiller.models.load import check_length, follow_tokenizer, load_model, longest_input, usual_input
from distiller.record import FILE, load_record
from distiller.run.changed_data import changed, other_than
from distiller.tasks import load_task
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.data import AnySplit, TaskData
from distiller.tasks.encode import Collator, EncodedSplit
from distiller.tasks.glue import GLUE, diagnostic
from distiller.tasks.leaderboard import SUBMISSION_FILES
from distiller.tasks.tokens import encode_split, scorer, with_ends
from distiller.training.evaluate import predict_logits
from distiller.translation.translate import TextTranslator, translates


def evaluate(
    model: str | Path,
    data: Any = None,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    run: str | Path | None = None,
    split: str = "dev",
    overrides: Sequence[str] = (),
) -> dict[str, float]:
    """Compute the scores of a model, as a mapping from the names of metrics to values.

    Args:
        model: The output folder of a run, or any fine-tuned model together with `run`.
        data: Rows to score on: a file, a mapping of columns or a data frame. `None`: the split `split` of the task.
        text: Column of the text in `data`. `None`: that of the model's run, else `text`.
        text_pair: Column of the second text in `data`. `None`: that of the model's run, if any.
        label: Column of the label in `data`. `None`: that of the model's run, else `label`.
        run: A run file whose task is used instead of that of the model's own run.
        split: `train`, `dev`, `test` or another split of the task.
        overrides: Changes of the run, as `field.name=value`.

    Raises `DistillerError`: `DataError` for a split that does not exist or has no labels, `ModelError` for a model
    without a head for the task, `ConfigError` for arguments that exclude each other.
    """
    if data is not None:
        if run is not None or overrides:
            raise ConfigError("`data` is scored without a task", hint="leave out `run` and `overrides`")
        return Predictor(model).scores(data, text=text, text_pair=text_pair, label=label)
    transformers_logging.disable_progress_bar()
    name, described = model_and_run(model, run, overrides)
    own = run is None and not overrides and (Path(model) / FILE).is_file()
    if described is None and translates(name):
        return TextTranslator(name, None, overrides).split_scores(split).values
    if isinstance(described, TranslationRun):
        translator = TextTranslator(name, described)
        if own and (said := other_than(load_record(model).data, translator.text.fingerprint)):
            warn(f"`{model}`: {said}")
        return translator.split_scores(split).values
    if described is None:
        raise OutputError(f"`{model}` is not a run's output", hint="say which task with --run run.yaml")
    data = load_task(described.task)
    if own and (said := changed(load_record(model).data, data)):
        warn(f"`{model}`: {said}")
    chosen = _labelled(data, split, described)
    bad = BadRows(described.task.skip_bad)
    read, encoded, logits = _opened(name, data, described.task)(chosen, bad)
    bad.warn(f"{data.name}: {split}")
    return scorer(data, described.task, read, encoded)(logits.numpy(), encoded.gold)


def _labelled(data: TaskData, split: str, run: Run) -> AnySplit:
    """A split with labels. Raises `DataError` for any other one."""
    if split not in data.splits:
        raise DataError(f"task `{data.name}` has no split `{split}`", hint=_other_split(split, data, run))
    if not data.splits[split].labelled:
        raise DataError(f"split `{split}` of `{data.name}` has no labels", hint="use `distiller predict` for its texts")
    return data.splits[split]


Answer = Callable[[AnySplit, BadRows], tuple[AnySplit, EncodedSplit, Tensor]]
"""From a split and what is done about bad rows to the rows that can be read, their tokens, and the logits for them."""


def _opened(name: str, data: TaskData, task: Task) -> Answer:
    """A model for a split of its task.

    Raises `ModelError` for a model without a head for the task.
    """
    labels = data.label_names
    if not has_head_for(name, kind=data.kind, labels=labels):
        raise ModelError(
            f"`{name}` is not fine-tuned for the {data.kind} task `{data.name}`",
            hint="its labels are " + ", ".join(f"`{label}`" for label in labels) if labels else "it needs one output",
        )
    tokenizer = load_tokenizer(name)
    model = follow_tokenizer(load_model(name, kind=data.kind, labels=labels), tokenizer)
    length = task.max_length or usual_input(model, tokenizer)
    check_length(length, model, "the model")
    collate = Collator(tokenizer, max_length=longest_input(model))

    def answer(split: AnySplit, bad: BadRows) -> tuple[AnySplit, EncodedSplit, Tensor]:
        read = split.take(with_ends(split, tokenizer, model.config, "the model", bad))
        encoded = encode_split(read, tokenizer, task, length)
        return read, encoded, predict_logits(model, encoded, collate)

    return answer


def _other_split(split: str, data: TaskData, run: Run) -> str:
    """What could be scored instead of a split that does not exist: those with labels, or a named file."""
    labelled = [name for name, one in data.splits.items() if one.labelled]
    if split == "test" and run.task.train is not None:
        return "one of " + ", ".join(f"`--split {name}`" for name in labelled) + "; or name a file: task.test=FILE"
    return did_you_mean(split, labelled)


def predict_glue(outputs: Sequence[str]) -> dict[str, list[str | float]]:
    """Predictions for the official test sets, by the leaderboard's file names, from the outputs of runs on GLUE tasks.

    A run on MNLI also predicts the diagnostic set AX, where its file lies beside the others.
    Raises `DistillerError`: a run of another task, a task named twice, a missing test file.
    """
    transformers_logging.disable_progress_bar()
    found: dict[str, list[str | float]] = {}
    for output in outputs:
        name, run = model_and_run(output, None, ())
        if run is None or isinstance(run, TranslationRun) or run.task.name not in GLUE:
            raise ConfigError(
                f"`{output}` is not the output of a run on a GLUE task", hint="task.name=rte, for example"
            )
        data = load_task(run.task)
        answer = _opened(name, data, run.task)
        splits = dict(data.splits)
        if run.task.name == "mnli" and (pairs := diagnostic(run.task)) is not None:
            splits[pairs.name] = pairs
        for file, sheet in SUBMISSION_FILES.items():
            if sheet.task != run.task.name or sheet.split not in splits:
                continue
            if file in found:
                raise ConfigError(f"two runs predict {file}.tsv", hint="name one run for each task")
            *_, logits = answer(splits[sheet.split], BadRows())
            if data.labels:
                found[file] = [data.labels[index] for index in logits.argmax(-1).tolist()]
            else:
                found[file] = logits.squeeze(-1).tolist()
    return found
