"""Using what was distilled: scores on a split, and labels for new texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from distiller.config import Run, Task, load_run
from distiller.errors import ConfigError, DataError, ModelError, OutputError, did_you_mean
from distiller.models.load import has_head_for, load_config, load_model, load_tokenizer, longest_input, resolve
from distiller.tasks import load_task
from distiller.tasks.alignment import encode_tagged
from distiller.tasks.answers import Prediction, answers
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.conll import is_conll, read_conll
from distiller.tasks.data import Split, TaggedSplit
from distiller.tasks.encode import IGNORED, Collator, encode
from distiller.tasks.glue import GLUE, diagnostic
from distiller.tasks.leaderboard import SHEETS
from distiller.tasks.questions import question_split, read_squad
from distiller.tasks.readers import read_table
from distiller.tasks.table import Table
from distiller.tasks.tagging import holds_lists, sentences, with_conllu_columns
from distiller.tasks.tokens import encode_split, scorer
from distiller.tasks.windows import encode_questions
from distiller.training.evaluate import predict_logits
from distiller.training.output_folder import RUN_FILE, STUDENT


def evaluate(
    model: str, *, run: Path | None = None, split: str = "dev", overrides: Sequence[str] = ()
) -> dict[str, float]:
    """Scores of `model` (a run's output folder, or any model with the task of the file `run`) on `split`.

    Raises `DistillerError`: no such split, a split without labels, a model without a fitting head.
    """
    transformers_logging.disable_progress_bar()
    name, described = _model_and_run(model, run, overrides)
    if described is None:
        raise OutputError(f"`{model}` is not a run's output", hint="say which task with --run run.yaml")
    data = load_task(described.task)
    if split not in data.splits:
        raise DataError(f"task `{data.name}` has no split `{split}`", hint=did_you_mean(split, list(data.splits)))
    chosen = data.splits[split]
    if not chosen.labelled:
        raise DataError(f"split `{split}` of `{data.name}` has no labels", hint="use `distiller predict` for its texts")
    labels = data.label_names
    if not has_head_for(name, kind=data.kind, labels=labels):
        raise ModelError(
            f"`{name}` is not fine-tuned for the {data.kind} task `{data.name}`",
            hint="its labels are " + ", ".join(f"`{label}`" for label in labels) if labels else "it needs one output",
        )
    loaded = load_model(name, kind=data.kind, labels=labels)
    tokenizer = load_tokenizer(name)
    length, limit = described.task.max_length or data.default_max_length, longest_input(loaded)
    if length > limit:
        raise ConfigError(
            f"task.max_length is {length}, but the model takes {limit} tokens", hint=f"task.max_length={limit}"
        )
    encoded = encode_split(chosen, tokenizer, described.task, length)
    logits = predict_logits(loaded, encoded, Collator(tokenizer))
    return scorer(data, described.task, chosen, encoded)(logits.numpy(), encoded.gold)


def predict(model: str, texts: Path, *, text: str | None = None, text_pair: str | None = None) -> list[dict[str, str]]:
    """One row per row of the file `texts`: `label` and the probability of every class, or `score` for regression.

    A tagger gives `words` and `tags`, and also reads CoNLL files and columns of lists. `text` and `text_pair` are
    column names; by default those of the run, else `text`. Raises `DistillerError`.
    """
    transformers_logging.disable_progress_bar()
    name, run = _model_and_run(model, None, ())
    task = run.task if run and run.task.name == "custom" else Task()
    first, second = text or task.text, text_pair or (task.text_pair if text is None else None)
    shape: Any = load_config(name)
    if str((shape.architectures or [""])[0]).endswith("ForTokenClassification"):
        return _tag(name, shape, _sentences(texts, run, text))
    table = read_table(texts)
    split = Split("predict", table.texts(first), table.texts(second) if second else None)
    regression = shape.num_labels == 1
    names = None if regression else [shape.id2label[index] for index in range(shape.num_labels)]
    kind = "regression" if regression else "classification"
    if not has_head_for(name, kind=kind, labels=names):
        raise ModelError(
            f"`{name}` is not fine-tuned for a task: it has no head", hint="name a run's output, or a fine-tuned model"
        )
    loaded = load_model(name, kind=kind, labels=names)
    tokenizer = load_tokenizer(name)
    limit = (run.task.max_length if run else None) or min(tokenizer.model_max_length, 512, longest_input(loaded))
    logits = predict_logits(loaded, encode(split, tokenizer, limit, True), Collator(tokenizer))
    if names is None:
        return [{"score": f"{value:.4f}"} for value in logits.squeeze(-1).tolist()]
    return [
        {"label": names[max(range(len(row)), key=row.__getitem__)]}
        | {f"p({name})": f"{value:.4f}" for name, value in zip(names, row, strict=True)}
        for row in logits.softmax(-1).tolist()
    ]


def predict_glue(outputs: Sequence[str]) -> dict[str, list[str | float]]:
    """Predictions for the official test sets, by the leaderboard's file names, from the outputs of runs on GLUE tasks.

    A run on MNLI also predicts the diagnostic set AX, where its file lies beside the others.
    Raises `DistillerError`: a run of another task, a task named twice, a missing test file.
    """
    transformers_logging.disable_progress_bar()
    found: dict[str, list[str | float]] = {}
    for output in outputs:
        name, run = _model_and_run(output, None, ())
        if run is None or run.task.name not in GLUE:
            raise ConfigError(
                f"`{output}` is not the output of a run on a GLUE task", hint="task.name=rte, for example"
            )
        data = load_task(run.task)
        model = load_model(name, kind=data.kind, labels=data.label_names)
        tokenizer = load_tokenizer(name)
        splits = dict(data.splits)
        if run.task.name == "mnli" and (pairs := diagnostic(run.task)) is not None:
            splits[pairs.name] = pairs
        for file, sheet in SHEETS.items():
            if sheet.task != run.task.name or sheet.split not in splits:
                continue
            if file in found:
                raise ConfigError(f"two runs predict {file}.tsv", hint="name one run for each task")
            encoded = encode_split(
                splits[sheet.split], tokenizer, run.task, run.task.max_length or data.default_max_length
            )
            logits = predict_logits(model, encoded, Collator(tokenizer))
            found[file] = (
                [data.labels[index] for index in logits.argmax(-1).tolist()]
                if data.labels
                else logits.squeeze(-1).tolist()
            )
    return found


def predict_answers(model: str, file: Path, *, skip_bad: bool = False) -> dict[str, Prediction]:
    """Answers to the questions of a SQuAD file, by question id; gold answers are not looked at.

    With `skip_bad` questions that cannot be used are left out with a warning. Raises `DistillerError`.
    """
    transformers_logging.disable_progress_bar()
    name, run = _model_and_run(model, None, ())
    task = run.task if run else Task()
    bad = BadRows(skip_bad)
    table = read_squad(file, bad)
    asked = Table(table.where, {name: cells for name, cells in table.columns.items() if name != "answers"})
    split = question_split("predict", asked, bad, labelled=False)
    bad.warn(str(file))
    loaded, tokenizer = load_model(name, kind="qa", labels=None), load_tokenizer(name)
    encoded = encode_questions(
        split,
        tokenizer,
        task.max_length or min(320, longest_input(loaded)),
        stride=task.stride,
        max_question_length=task.max_question_length,
        skip_bad=skip_bad,
    )
    logits = predict_logits(loaded, encoded, Collator(tokenizer)).numpy()
    return answers(
        encoded,
        split,
        logits[..., 0],
        logits[..., 1],
        n_best=task.n_best,
        max_answer_length=task.max_answer_length,
    )


def answers_questions(model: str) -> bool:
    """Whether the model (or the student of a run) has a head for extractive question answering."""
    shape: Any = load_config(_model_and_run(model, None, ())[0])
    return str((shape.architectures or [""])[0]).endswith("ForQuestionAnswering")


def _sentences(file: Path, run: Run | None, text: str | None) -> list[tuple[str, ...]]:
    """The words of each sentence of a CoNLL file, of a column of lists, or of a column of texts with spaces."""
    task = run.task if run and run.task.name == "custom" else Task()
    # these endings are also those of tables: the run says what they are here
    trained = ".tsv" if run and run.task.name == "ud-ewt" else Path(task.train or "").suffix.lower()
    if is_conll(file.name, tagging=file.suffix.lower() == trained):
        task = with_conllu_columns(task.model_copy(update={"train": file.name}))
        table = read_conll(file, task.columns)
    else:
        table = read_table(file)
    column = text or task.text
    if not holds_lists(table, column):
        return [tuple(line.split()) for line in table.texts(column)]
    words = Table(table.where, {column: table.column(column)}, table.lines)
    listed = sentences(words, task.model_copy(update={"text": column}), BadRows(), labelled=False)
    return [one.words for one in listed]


def _tag(name: str, shape: Any, words: Sequence[tuple[str, ...]]) -> list[dict[str, str]]:
    """The words of each sentence and their tags; `_` for words behind the longest input."""
    names = [shape.id2label[index] for index in range(shape.num_labels)]
    model, tokenizer = load_model(name, kind="tagging", labels=names), load_tokenizer(name)
    anything = tuple((0,) * len(row) for row in words)  # marks the token on which each word is read
    limit = min(tokenizer.model_max_length, 512, longest_input(model))
    encoded = encode_tagged(TaggedSplit("predict", tuple(words), anything), tokenizer, limit)
    found = predict_logits(model, encoded, Collator(tokenizer)).argmax(-1).numpy()
    gold = encoded.gold
    assert gold is not None
    rows = []
    for row, ids, places in zip(words, found, gold != IGNORED, strict=True):
        tags = [names[int(tag)] for tag in ids[: len(places)][places]]
        rows.append({"words": " ".join(row), "tags": " ".join([*tags, *["_"] * (len(row) - len(tags))])})
    return rows


def _model_and_run(model: str, run: Path | None, overrides: Sequence[str]) -> tuple[str, Run | None]:
    """The model's name, and the run that says what its task is, where one is known."""
    folder = Path(model)
    if (folder / RUN_FILE).is_file():
        if not (folder / STUDENT).is_dir():
            raise OutputError(f"`{folder}` holds no finished student", hint="continue it: distiller run … --resume")
        return str(folder / STUDENT), load_run(run or folder / RUN_FILE, overrides)
    resolve(model)
    return model, load_run(run, overrides) if run else None
