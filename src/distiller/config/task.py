"""What is to be learnt."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from distiller.config.base import Config, Files
from distiller.registry import Count, Number, Probability, Seed


def _words(value: Any) -> Any:
    """A list of names in which some look like numbers to YAML."""
    if not isinstance(value, list):
        return value
    if None in value:
        raise ValueError('names nothing; quote a class that is called null: ["null", …]')
    return [str(one) if isinstance(one, bool | int | float) else one for one in value]


Words = Annotated[list[str], BeforeValidator(_words)]

Separator = Annotated[
    str,
    BeforeValidator(lambda value: "\t" if value in ("tab", "\\t") else value),
    Field(min_length=1, max_length=1),
]


class Task(Config):
    """The task and its data: a named task, your own files, or a data set that the `datasets` library loads."""

    name: str = "custom"
    """A row of `distiller components task` (`rte`, `sst2`, `rotten-tomatoes`, …), or `custom` for your own data."""
    data: str | None = None
    """Where the data is: the folder of a benchmark's official files, or for `custom` a data set name or folder
    that `datasets` resolves. Not needed when `train` names a file."""
    config: str | None = None
    """The configuration of a `datasets` data set, e.g. `sst2` of `glue`."""
    train: str | None = None
    """Training file (.csv .tsv .txt .jsonl .ndjson .json .parquet .arrow .conll; also .csv.gz, .bz2, .xz, .zst), or the
    name of the split in `data`."""
    dev: str | None = None
    """Development file or split name. Without one, `dev_fraction` of the training rows is held out."""
    test: str | None = None
    """Test file or split name; scored only by `distiller evaluate --split test`."""
    unlabelled: str | Files | None = None
    """Texts without labels, on which the student learns from the teacher's outputs alone: a file or a split of `data`,
    or a list of them. Columns are `text` and `text_pair` (for tagging, words; for question answering, questions and
    contexts); a `.txt` file has one text per line. Training rows with an empty label are used in the same way."""
    text: str = "text"
    """Column of the text (or of the first of two). If no column is called `text`, `text_pair` and `label`, those with
    usual names (`premise` and `hypothesis`, `sentiment`) or the only column of texts are taken, and named."""
    text_pair: str | None = None
    """Column of the second text of a pair."""
    label: str = "label"
    """Column of the label. A list of class names in which a name occurs twice is read as the votes of several
    annotators; the share of the votes for a class is its probability. Lists of numbers that sum to one, and class
    names with numbers, are read as `probabilities`."""
    probabilities: str | Files | None = None
    """Class probabilities that come with the data, for example from an LLM, an ensemble or `distiller label`. They sum
    to one per row, except with `kind: multilabel`. Either one column, whose cells are lists in the order of `labels`
    or mappings of class names to numbers; or one column per class, as a list of column names or as a pattern with `*`
    in place of the class (`p(*)`). They replace the teacher's outputs, and the label of a row that has none."""
    min_confidence: Probability | None = None
    """Leave out rows whose most probable class has less than this probability; they are counted in the Record. For
    multi-label tasks the certainty of a class is max(p, 1 - p), and that of the least certain class decides."""
    kind: Literal["classification", "multilabel", "regression", "tagging", "qa"] | None = None
    """`translation` makes a run of parallel text, whose task has fields of its own. `null`: the task table's kind; for
    `custom` it follows from the data: `tagging` for CoNLL files and columns of lists, `qa` for SQuAD files,
    `regression` when every label is written with a fraction and not all are whole."""
    labels: Words | None = None
    """The label set, in the order of the class ids. `null`: the labels of the training rows, sorted."""
    metric: str | None = None
    """The development score by which the best checkpoint is chosen. `null`: the first metric of the task."""
    max_length: Count | None = None
    """Longest input in tokens. `null`: 64 for single texts, 128 for pairs and tagging, 320 for question answering
    (arXiv:2109.11105, appendix G); for your own files, except in question answering, the 95th percentile of the lengths
    of the training texts, if that is more, and at most 256."""
    truncate: bool = True
    """Cut longer inputs at `max_length` (and count them in the Record); `false` refuses them."""
    train_limit: Count | None = None
    """Use only this many training rows, chosen by `split_seed`."""
    label_limit: Count | None = None
    """Keep the labels of only this many training rows, chosen by `split_seed`; the other rows are used without
    labels."""
    unlabelled_limit: Count | None = None
    """Use only this many texts without labels, chosen by `split_seed`."""
    dev_limit: Count | None = None
    """Use only this many development rows, chosen by `split_seed`."""
    dev_fraction: Annotated[float, Field(gt=0, lt=1), Number] = 0.1
    """Share of the training rows held out when there is no development file."""
    split_seed: Seed = 13
    """Random seed of the choice of rows that are held out or kept."""
    skip_bad: bool = False
    """Leave out rows that cannot be used, instead of raising an error. They are counted in the Record and listed in
    `left_out.txt` in the output folder."""
    encoding: str | None = None
    """How the files are encoded, e.g. `cp1252` or `latin-1`. `null`: UTF-8, or what a byte order mark says."""
    separator: Separator | None = None
    """Separator of the cells in .csv, .tsv and .txt files; `tab` for a tab. `null`: the separator found in the
    header."""
    columns: Words | None = None
    """Names of all columns, in order, for files without a header line: .csv, .tsv and .txt, and CoNLL files. `null`:
    the first line names them; for CoNLL `text` first, `label` last, numbers between."""
    stride: Count = 128
    """Question answering: tokens by which the windows of a long context overlap (`doc_stride`)."""
    max_question_length: Count = 64
    """Question answering: longest question in tokens; longer ones are cut."""
    max_answer_length: Count = 30
    """Question answering: longest predicted answer in tokens."""
    n_best: Count = 20
    """Question answering: starts and ends considered for each window."""
    null_answers: bool | None = None
    """Question answering: whether a question may have no answer in its context, as in SQuAD 2; the model then predicts
    the empty string. `null`: yes if a training question (or, where these have no answers, a development question) has
    none."""
    null_threshold: Annotated[float, Number] = 0.0
    """Question answering with `null_answers`: the empty answer is predicted where its score exceeds that of the best
    other answer by more than this (`null_score_diff_threshold`)."""

    @property
    def answer_limits(self) -> dict[str, Any]:
        """The limits on predicted answers, as keyword arguments of `distiller.tasks.answers.answers`."""
        return {
            "n_best": self.n_best,
            "max_answer_length": self.max_answer_length,
            "null_threshold": self.null_threshold,
        }
