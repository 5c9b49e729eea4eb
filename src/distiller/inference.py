"""What a distilled model says of new texts, and who it is."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers.utils import logging as transformers_logging

from distiller.config import Run, Task, load_run
from distiller.config.translation import TranslationRun
from distiller.device import compute
from distiller.errors import ConfigError, ModelError, OutputError
from distiller.models.folders import load_config, load_tokenizer, resolve
from distiller.models.heads import has_head_for, kind_of_head
from distiller.models.load import follow_tokenizer, load_model, longest_input, usual_input
from distiller.tasks.alignment import encode_tagged, tag_names
from distiller.tasks.answers import Prediction, answers
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.custom import METRICS_OF
from distiller.tasks.data import Split, TaggedSplit, TaskData
from distiller.tasks.encode import Collator, encode
from distiller.tasks.in_memory import table_of
from distiller.tasks.new_texts import Form, NewTexts, read_new_questions, read_new_texts
from distiller.tasks.questions import question_split
from distiller.tasks.readers import read_table
from distiller.tasks.tokens import scorer, with_ends
from distiller.tasks.windows import encode_questions
from distiller.training.evaluate import predict_logits
from distiller.training.output_folder import RUN_FILE, STUDENT
from distiller.translation.pairs import text_lines
from distiller.translation.translate import TextTranslator, translates

Row = dict[str, Any]
"""The prediction for one text. Its keys depend on the task: `label` (multi-label: `labels`) and the probability
`p(NAME)` of every class; `score` for regression; `words` and `tags`; `answer` and `probability`; `translation`."""


SCORED_BY_RUNS: dict[str | None, str] = {
    "translation": "a translation is",
    "tagging": "a tagger is",
    "multilabel": "a model of several labels is",
    "qa": "answers are",
}
"""Kinds of models that a table of texts and labels does not score."""


class Predictor:
    """A loaded model that can be called on texts repeatedly.

    Args:
        model: The output folder of a run, or any fine-tuned model.
        overrides: Translation only: changes of how translations are generated, e.g. `evaluation.beam=1`.
        max_length: Longer texts are cut at so many tokens. `None`: the limit of the model's run.
        precision: `fp32`, `bf16`, `fp16` (on a GPU) or `auto`.

    Raises `ModelError` for a model without a head for a task, `ConfigError` for a `max_length` above the model's.

        predictor = Predictor("outputs/reviews")
        predictor(["A lovely film.", "A bleak one."])
    """

    def __init__(
        self,
        model: str | Path,
        *,
        overrides: Sequence[str] = (),
        max_length: int | None = None,
        precision: str = "fp32",
    ) -> None:
        transformers_logging.disable_progress_bar()
        self.name, self._run = model_and_run(model, None, overrides)
        self.kind: str | None = "translation"
        """The kind of task that the model's head is for."""
        self.classes: list[str] = []
        """Class names in the order of the model's outputs. For regression, one name without a meaning."""
        self.tags = False
        """Whether the model is a tagger."""
        self._translator: TextTranslator | None = None
        if self._run is None and translates(self.name):
            self._translator = TextTranslator(self.name, None, overrides)
        elif isinstance(self._run, TranslationRun):
            self._translator = TextTranslator(self.name, self._run)
        if self._translator is not None:
            return
        if overrides:
            raise ConfigError(f"`{overrides[0]}` has no meaning: `{model}` does not translate", hint="leave it out")
        shape: Any = load_config(self.name)
        kind = self.kind = kind_of_head(shape)
        self.tags = kind == "tagging"
        self.classes = [] if kind == "qa" else [str(shape.id2label[index]) for index in range(shape.num_labels)]
        self.names = None if kind in ("regression", "qa") else self.classes
        if kind is None or not has_head_for(self.name, kind=kind, labels=self.names):
            raise ModelError(
                f"`{self.name}` is not fine-tuned for a task: it has no head",
                hint="name a run's output, or a fine-tuned model",
            )
        self._compute = compute(precision)
        self._model = load_model(self.name, kind=kind, labels=self.names, attention=self._compute.answering)
        self._tokenizer = load_tokenizer(self.name)
        follow_tokenizer(self._model, self._tokenizer)
        limit = longest_input(self._model)
        self.max_length = max_length or (self._run.task.max_length if self._run else None) or self._longest()
        """Longest input in tokens; longer texts are cut."""
        if self.max_length > limit:
            raise ConfigError(
                f"max_length is {self.max_length}, but `{self.name}` takes {limit} tokens",
                hint=f"--max-length {limit}, or max_length={limit}",
            )

    def __call__(
        self,
        texts: Any,
        *,
        text: str | None = None,
        text_pair: str | None = None,
        skip_bad: bool = False,
        overrides: Sequence[str] = (),
    ) -> list[Row]:
        """Predict one row for each text.

        Args:
            texts: A file, a list of texts or of pairs, a mapping of columns, or a data frame. A tagger splits each text
                into words; it also takes lists of words, columns of lists, and CoNLL files. A question-answering model
                takes pairs (question, context), columns with these names, or a SQuAD file.
            text: Column of the text. `None`: that of the model's run, else `text`.
            text_pair: Column of the second text. `None`: that of the model's run, if any.
            skip_bad: Leave out rows that cannot be used, instead of raising an error.
            overrides: How a file is written, e.g. `["task.encoding=cp1252"]`.

        Raises `DataError` for texts that cannot be used, `ConfigError` for arguments that do not fit the model.
        """
        if self._translator is not None:
            if text_pair is not None or skip_bad or overrides:
                raise ConfigError("a translation has a line for each line", hint="name nothing but texts, and `text`")
            return [{"translation": said} for said in self._translator(self.sentences(texts, text=text))]
        if self.kind == "qa":
            if text is not None or text_pair is not None:
                raise ConfigError("questions and contexts have fixed columns", hint="name none: question, context")
            if isinstance(texts, list | tuple) and not texts:
                return []
            found = self.answers(texts, skip_bad=skip_bad, overrides=overrides)[0]
            return [{"id": name, "answer": one.text, "probability": one.probability} for name, one in found.items()]
        form = self.form(text=text, text_pair=text_pair, skip_bad=skip_bad, overrides=overrides)
        return self.rows(self.read(texts, form))

    def sentences(self, given: Any, *, text: str | None = None) -> list[str]:
        """The sentences to translate, from a list, from a file with one sentence per line, or from a column."""
        encoding = None if self._translator is None else self._translator.run.task.encoding
        return sentences_of(given, text, encoding)

    def form(
        self,
        *,
        text: str | None = None,
        text_pair: str | None = None,
        skip_bad: bool = False,
        overrides: Sequence[str] = (),
    ) -> Form:
        """How texts are read: as in the model's run, except for the arguments given. Raises `ConfigError`."""
        return Form.of(self._run, text=text, text_pair=text_pair, overrides=overrides, skip_bad=skip_bad)

    def read(self, texts: Any, form: Form) -> NewTexts:
        """Read `texts` as rows for this model. Raises `DistillerError`."""
        return self.readable(read_new_texts(texts, form, tagging=self.tags))

    def readable(self, given: NewTexts) -> NewTexts:
        """`given` without the rows whose end this model would not find, where bad rows are left out.

        Raises `DataError` for such a row elsewhere.
        """
        table, first, second = given.table, given.text, given.text_pair
        if given.words is not None or not len(table):
            return given
        before = len(given.left_out)
        split = Split("given", tuple(table.column(first)), tuple(table.column(second)) if second else None)
        kept = with_ends(split, self._tokenizer, self._model.config, "the model", given.bad, table.place)
        BadRows(True, given.bad.errors[before:]).warn(table.where)
        return given if len(kept) == len(table) else replace(given, table=table.take(kept))

    def rows(self, given: NewTexts) -> list[Row]:
        """Predict one row for each row of `given`."""
        if given.words is not None:
            return self._tagged(given.words)
        table, first, second = given.table, given.text, given.text_pair
        if not len(table):
            return []
        said = self.probabilities(table.texts(first), table.texts(second) if second else None)
        if self.names is None:
            return [{"score": value} for value in said.squeeze(-1).tolist()]
        several = self.kind == "multilabel"
        key = "labels" if several else "label"
        rows: list[Row] = []
        for shares in said.tolist():
            shown = {f"p({name})": share for name, share in zip(self.classes, shares, strict=True)}
            rows.append({key: named(shares, self.classes, several=several), **shown})
        return rows

    def probabilities(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Tensor:
        """Class probabilities of every text, `[rows, c]`; for regression the predicted numbers, `[rows, 1]`."""
        logits = self._logits(Split("predict", tuple(texts), None if pairs is None else tuple(pairs)))[0]
        if self.names is None:
            return logits
        return logits.sigmoid() if self.kind == "multilabel" else logits.softmax(-1)

    def answers(
        self, given: Any, *, skip_bad: bool = False, overrides: Sequence[str] = ()
    ) -> tuple[dict[str, Prediction], list[str]]:
        """Answer questions: returns the predictions by question id, and why rows were left out with `skip_bad`.

        Gold answers in `given` are ignored. Raises `ModelError` for a model that is not for question answering,
        `DataError` for rows that cannot be used.
        """
        if self._translator is not None or self.kind != "qa":
            raise ModelError(f"`{self.name}` answers no questions", hint="it has another head: call the predictor")
        form = self.form(overrides=overrides, skip_bad=skip_bad)
        table, bad = read_new_questions(given, form)
        task = self._run.task if self._run else Task()
        split = question_split("predict", table, bad, labelled=False, null_answers=bool(task.null_answers))
        bad.warn(table.where)
        longest = longest_input(self._model)
        encoded = encode_questions(
            split,
            self._tokenizer,
            task.max_length or min(320, longest),
            stride=task.stride,
            max_question_length=task.max_question_length,
            skip_bad=form.skip_bad,
        )
        logits = predict_logits(self._model, encoded, Collator(self._tokenizer, max_length=longest)).numpy()
        found = answers(encoded, split, logits[..., 0], logits[..., 1], **task.answer_limits)
        return found, [error.message for error in bad.errors]

    def scores(
        self, data: Any, *, text: str | None = None, text_pair: str | None = None, label: str | None = None
    ) -> dict[str, float]:
        """Compute the metrics of a classification or regression model on labelled rows, in any form that calls accept.

        Raises `DataError` for a label that is not a class of the model, `ConfigError` for other kinds of models.
        """
        if whose := SCORED_BY_RUNS.get(self.kind):
            raise ConfigError(f"{whose} scored on the task of a run", hint='evaluate("outputs/run", split="test")')
        given = self.read(data, self.form(text=text, text_pair=text_pair))
        table, first, second = given.table, given.text, given.text_pair
        gold = label or self._task.label
        labels = table.numbers(gold) if self.names is None else table.class_ids(gold, tuple(self.classes))
        split = Split("given", table.texts(first), table.texts(second) if second else None, labels)
        kind = "regression" if self.names is None else "classification"
        logits, encoded = self._logits(split)
        task = TaskData(
            name="given", kind=kind, labels=tuple(self.names or ()), metrics=METRICS_OF[kind], splits={"given": split}
        )
        return scorer(task, Task(), split, encoded)(logits.numpy(), encoded.gold)

    @property
    def _task(self) -> Task:
        return self._run.task if self._run and self._run.task.name == "custom" else Task()

    def _logits(self, split: Split) -> tuple[Any, Any]:
        """The model's outputs on `split`, and its tokens."""
        with_ends(split, self._tokenizer, self._model.config, "the model", BadRows())
        encoded = encode(split, self._tokenizer, self.max_length, True)
        collate = Collator(self._tokenizer, max_length=self.max_length)
        return predict_logits(self._model, encoded, collate, precision=self._compute.precision), encoded

    def _longest(self) -> int:
        return usual_input(self._model, self._tokenizer)

    def _tagged(self, words: Sequence[tuple[str, ...]]) -> list[Row]:
        """The words of each sentence and their tags; `_` for words beyond the longest input."""
        if not words:
            return []
        anything = tuple((0,) * len(row) for row in words)  # marks the token at which each word is classified
        split = TaggedSplit("predict", tuple(words), anything)
        limit = self._longest()
        encoded = encode_tagged(split, self._tokenizer, limit)
        collate = Collator(self._tokenizer, max_length=limit)
        found = predict_logits(self._model, encoded, collate).argmax(-1).numpy()
        gold = encoded.gold
        assert gold is not None
        rows: list[Row] = []
        for row, tags, right in zip(words, found, gold, strict=True):
            rows.append({"words": list(row), "tags": tag_names(tags, right, self.classes, words=len(row))})
        return rows


def named(shares: Sequence[float], names: Sequence[str], *, several: bool) -> str | list[str]:
    """The most probable class or, with `several`, those that are more probable than not."""
    if several:
        return [name for name, share in zip(names, shares, strict=True) if share > 0.5]
    return names[max(range(len(shares)), key=shares.__getitem__)]


def predict(
    model: str | Path,
    texts: Any,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    skip_bad: bool = False,
    overrides: Sequence[str] = (),
) -> list[Row]:
    """What `model` predicts for each of `texts`: a file, a list of texts or of pairs, columns or a data frame.

    A row has `label` (`labels`, if there may be several) and the probability `p(NAME)` of every class, or what another
    kind of model returns (`Row`). To reuse a model, keep a `Predictor`. Raises `DistillerError`.
    """
    return Predictor(model)(texts, text=text, text_pair=text_pair, skip_bad=skip_bad, overrides=overrides)


def sentences_of(given: Any, text: str | None, encoding: str | None = None) -> list[str]:
    """The sentences of a list, a file with one a line, or a column."""
    if isinstance(given, (str, Path)):
        return list(read_table(Path(given)).texts(text)) if text else text_lines(str(given), encoding)
    if isinstance(given, list | tuple) and all(isinstance(one, str) for one in given):
        return list(given)
    column = text or "text"
    return list(table_of(given, text=column).texts(column))


def model_and_run(
    model: str | Path, run: str | Path | None = None, overrides: Sequence[str] = ()
) -> tuple[str, Run | None]:
    """The model's name, and the run that describes its task, if one is known."""
    folder = Path(model)
    student = folder / STUDENT
    if (folder / RUN_FILE).is_file():
        if not student.is_dir():
            raise OutputError(f"`{folder}` holds no finished student", hint="continue it: distiller run … --resume")
        return str(student), load_run(run or folder / RUN_FILE, overrides)
    if student.is_dir() and not (folder / "config.json").is_file():
        if run is None:
            raise OutputError(
                f"`{folder}` holds the student of a run, but no {RUN_FILE}, which says what it was taught",
                hint=f"copy it again; or name the model alone: {student}",
            )
        return str(student), load_run(run, overrides)
    resolve(str(model))
    return str(model), load_run(run, overrides) if run else None
