"""Questions and contexts as token ids: a long context becomes several overlapping windows, one a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from distiller.errors import DataError, ModelError
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.data import NO_ANSWER, Answer, QuestionSplit
from distiller.tasks.encode import CHUNK, IGNORED, NO_ANSWER_HERE, EncodedSplit, check_max_length, without_space

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


NO_NULL = "take an encoder such as BERT; or task.null_answers=false with task.skip_bad=true"
"""What to do with a model that cannot say that there is no answer."""


@dataclass(frozen=True, kw_only=True)
class EncodedQuestions(EncodedSplit):
    """Questions as tokens: a row is one window; `labels` are its start and end position `[rows, 2]`, or -100 twice.

    `output_mask` marks the tokens of the context, where answers may be, and the position of `nulls`. The other columns
    lead from a token back to the text; the windows of one question are consecutive rows.
    """

    questions: np.ndarray
    """The question of each window, as its row in the split, int32 `[rows]`."""
    firsts: np.ndarray
    """Position of the first context token in each window, int32 `[rows]`."""
    counts: np.ndarray
    """Context tokens of each window, int32 `[rows]`."""
    origins: np.ndarray
    """Where in `spans` the context tokens of each window begin, int64 `[rows]`."""
    spans: np.ndarray
    """First character and the one behind the last, of each token of each different context, int32 `[tokens, 2]`."""
    own: np.ndarray
    """The context tokens, from the first to the one behind the last, that have more context around them in this
    window than in any other, int32 `[rows, 2]` counted from `firsts`."""
    nulls: np.ndarray | None = None
    """Position in each window where an answer begins and ends that is not in it, int32 `[rows]`; `None` where every
    context has one."""


def encode_questions(
    split: QuestionSplit,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    *,
    stride: int = 128,
    max_question_length: int = 64,
    unanswered: bool = False,
    skip_bad: bool = False,
    characters: bool = False,
) -> EncodedQuestions:
    """Windows of `max_length` tokens, each a question and as much of its context as fits, overlapping by `stride`.

    Questions are cut to `max_question_length` tokens, and `truncated` counts those. The labels of a window are the
    first of the question's answers that lies in it entirely; where contexts may hold none (`split.null_answers`), a
    window without an answer is labelled with the position of the token that stands for the whole text, such as [CLS]. A
    question that leaves too little room for windows to advance is refused; with `skip_bad` it gets no window and is
    counted, with `unanswered` it is cut and its windows overlap less. `characters` adds those of each token.
    Raises `ConfigError` if `max_length` has no room for text; `DataError` for such a question, or if the answers are
    known but no window holds one (unless `unanswered`); `ModelError` for a tokenizer that cannot say where tokens come
    from. Source of the windows and of the position for no answer: Devlin et al. 2019, arXiv:1810.04805.
    """
    check_max_length(max_length, tokenizer, pairs=True)
    texts = _texts(split, tokenizer, null=split.null_answers)
    special = texts.template.special
    longest = min(max_question_length, max_length - special - 1) if unanswered else max_question_length
    found: list[_Window] = []
    rows: list[int] = []
    bad = BadRows(skip_bad)
    for row in range(len(split)):
        question, context = texts.pair(row)
        right = split.answers[row] if split.answers else ()
        inside = [_tokens_of(answer, context.spans) for answer in right if answer != NO_ANSWER]
        asked = question.ids[:longest]
        room = max_length - special - len(asked)
        overlap = min(stride, room - 1) if unanswered else stride
        if room < 1 or len(context.ids) > room <= overlap:
            bad.meet(_no_room(split.place(row), max_length, special, len(asked), room, stride))
            continue
        windows = _windows(texts, asked, context.ids, inside, room, overlap, known=bool(right))
        found += windows
        rows += [row] * len(windows)
    bad.warn(split.source or split.name)
    if not found:
        raise bad.errors[0]
    if split.answers is not None and not unanswered:
        _check_answers(split, found, max_length, stride)
    begins = np.concatenate([[0], np.cumsum([len(context.ids) for context in texts.contexts], dtype=np.int64)])
    return EncodedQuestions(
        **_columns(split, texts, rows, found, tokenizer, seen=characters),
        labels=None if split.answers is None else np.asarray([window.label for window in found], dtype=np.int64),
        truncated=sum(len(question.ids) > max_question_length for question in texts.questions),
        output_mask=np.concatenate([window.mask for window in found]),
        questions=np.asarray(rows, dtype=np.int32),
        firsts=np.asarray([window.first for window in found], dtype=np.int32),
        counts=np.asarray([window.size for window in found], dtype=np.int32),
        origins=begins[[texts.held[row] for row in rows]] + [window.begin for window in found],
        spans=np.concatenate([context.spans for context in texts.contexts]),
        own=np.asarray([window.own for window in found], dtype=np.int32),
        nulls=None if texts.null is None else np.asarray([window.null for window in found], dtype=np.int32),
        skipped=len(bad.errors),
    )


def encode_read(
    split: QuestionSplit, read: EncodedQuestions, tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> EncodedSplit:
    """The windows of `read`, which were made with `characters`, in the tokens of another `tokenizer`.

    Each row has the same question and the same part of the context, less what `max_length` tokens have no room for;
    `truncated` counts such rows. Raises `ModelError` as `encode_questions` does.
    """
    assert read.characters is not None
    texts = _texts(split, tokenizer, null=read.nulls is not None)
    rows = read.questions.tolist()
    found: list[_Window] = []
    truncated = 0
    for row, spans in zip(rows, np.split(read.characters, read.starts[1:-1]), strict=True):
        question, context = texts.pair(row)
        behind = len(split.questions[row]) + 1
        inside = spans[spans[:, 0] >= behind] - behind
        asked = question.ids[question.spans[:, 0] < spans[spans[:, 0] < behind, 1].max(initial=0)]
        first = inside[:, 0].min(initial=len(split.contexts[row]))
        begin = int(np.searchsorted(context.spans[:, 1], first, side="right"))
        end = int(np.searchsorted(context.spans[:, 0], inside[:, 1].max(initial=0)))
        room = max(0, max_length - texts.template.special - len(asked))
        truncated += end - begin > room
        found.append(_window(texts, asked, context.ids, (begin, max(begin, min(end, begin + room)))))
    return EncodedSplit(**_columns(split, texts, rows, found, tokenizer, seen=True), labels=None, truncated=truncated)


def window_ranges(length: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Ranges of at most `room` tokens that cover `length` tokens, each starting `stride` before the previous one ends.

    `stride` < `room`, unless one window is enough. A context without tokens has one empty window.
    """
    ranges = [(0, min(room, length))]
    while ranges[-1][1] < length:
        begin = ranges[-1][1] - stride
        ranges.append((begin, min(begin + room, length)))
    return ranges


def own_ranges(windows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """For each window the tokens that have the most context in it, as a range counted from the window's start.

    The context of a token is the smaller of the numbers of tokens before and after it, plus a hundredth of the window's
    length; the earlier window wins a tie, as in the BERT script. Between two windows the difference never rises from
    left to right, so the tokens of a window form a range; each token belongs to one window.
    """
    length = windows[-1][1]
    if len(windows) == 1:
        return [(0, length)]
    position = np.arange(length)
    best, owner = np.full(length, -1), np.zeros(length, dtype=np.int64)
    for number, (begin, end) in enumerate(windows):
        inside = position[begin:end]
        around = 100 * np.minimum(inside - begin, end - 1 - inside) + (end - begin)  # integers, so that ties are exact
        better = around > best[begin:end]
        best[begin:end][better], owner[begin:end][better] = around[better], number
    edges = np.searchsorted(owner, range(len(windows) + 1))
    return [(int(a) - begin, int(b) - begin) for (a, b), (begin, _) in zip(pairwise(edges), windows, strict=True)]


class _Template(NamedTuple):
    """What the tokenizer puts before, between and after a question and a context."""

    head: np.ndarray
    middle: np.ndarray
    tail: np.ndarray
    types: list[int]
    """Segment id of head, question, middle, context and tail."""

    @property
    def special(self) -> int:
        """The number of tokens that are not text."""
        return len(self.head) + len(self.middle) + len(self.tail)


class _Text(NamedTuple):
    """A text as tokens, without special ones."""

    ids: np.ndarray
    spans: np.ndarray


class _Texts(NamedTuple):
    """The questions and contexts of a split as tokens."""

    template: _Template
    null: int | None
    """The position in a window that stands for no answer, counted from its end if negative."""
    questions: list[_Text]
    contexts: list[_Text]
    """The different contexts."""
    held: list[int]
    """The context of each question, as its place in `contexts`."""

    def pair(self, row: int) -> tuple[_Text, _Text]:
        """A question and its context."""
        return self.questions[row], self.contexts[self.held[row]]


class _Window(NamedTuple):
    """One row in the making."""

    tokens: np.ndarray
    types: np.ndarray
    mask: np.ndarray
    asked: int
    """Tokens of its question."""
    first: int
    begin: int
    """Its first context token among those of the whole context."""
    size: int
    """Its context tokens."""
    null: int | None
    own: tuple[int, int] = (0, 0)
    label: tuple[int, int] = (IGNORED, IGNORED)


def _texts(split: QuestionSplit, tokenizer: Any, *, null: bool) -> _Texts:
    """With `null` there is a position for no answer. Raises `ModelError` as `encode_questions` does."""
    template = _template(tokenizer)
    number = {context: n for n, context in enumerate(dict.fromkeys(split.contexts))}
    return _Texts(
        template,
        _null_place(tokenizer, template) if null else None,
        questions=_tokenize(tokenizer, split.questions),
        contexts=_tokenize(tokenizer, list(number)),
        held=[number[context] for context in split.contexts],
    )


def _windows(
    texts: _Texts,
    question: np.ndarray,
    context: np.ndarray,
    inside: Sequence[tuple[int, int]],
    room: int,
    stride: int,
    *,
    known: bool,
) -> list[_Window]:
    """The windows of one question with `room` context tokens; `inside` has each answer's first and last token.

    `known`: the data says that there is no answer.
    """
    windows = window_ranges(len(context), room, stride)
    found: list[_Window] = []
    for (begin, end), own in zip(windows, own_ranges(windows), strict=True):
        window = _window(texts, question, context, (begin, end))
        shift = window.first - begin
        absent = window.null if known and window.null is not None else IGNORED
        label = next(((a + shift, b + shift) for a, b in inside if begin <= a <= b < end), (absent, absent))
        found.append(window._replace(own=own, label=label))
    return found


def _window(texts: _Texts, question: np.ndarray, context: np.ndarray, part: tuple[int, int]) -> _Window:
    """The window of a question and the tokens `part`, from the first to the one behind the last, of its context."""
    begin, end = part
    head, middle, tail, types = texts.template
    sizes = (len(head), len(question), len(middle), end - begin, len(tail))
    mask = np.repeat(np.asarray([0, 0, 0, 1, 0], dtype=np.int8), sizes)
    place = None if texts.null is None else range(len(mask))[texts.null]
    if place is not None:
        mask[place] = 1
    return _Window(
        tokens=np.concatenate([head, question, middle, context[begin:end], tail]),
        types=np.repeat(np.asarray(types, dtype=np.int8), sizes),
        mask=mask,
        asked=len(question),
        first=sum(sizes[:3]),
        begin=begin,
        size=end - begin,
        null=place,
    )


def _columns(
    split: QuestionSplit, texts: _Texts, rows: Sequence[int], found: Sequence[_Window], tokenizer: Any, *, seen: bool
) -> dict[str, Any]:
    """What the windows `found` of the questions `rows` are as an `EncodedSplit`; with `seen`, also its `characters`."""
    known = "token_type_ids" in tokenizer.model_input_names
    characters = [_seen(split, texts, row, window) for row, window in zip(rows, found, strict=True)] if seen else []
    return {
        "name": split.name,
        "lengths": [len(window.tokens) for window in found],
        "tokens": np.concatenate([window.tokens for window in found]),
        "types": np.concatenate([window.types for window in found]) if known else None,
        "characters": np.concatenate(characters) if seen else None,
    }


def _seen(split: QuestionSplit, texts: _Texts, row: int, window: _Window) -> np.ndarray:
    """`EncodedSplit.characters` of a window of the question `row`."""
    asked, given = split.questions[row], split.contexts[row]
    question, context = texts.pair(row)
    found = np.full((len(window.tokens), 2), -1, dtype=np.int32)
    parts = (
        (len(texts.template.head), question.spans[: window.asked], asked, 0),
        (window.first, context.spans[window.begin : window.begin + window.size], given, len(asked) + 1),
    )
    for place, spans, text, behind in parts:
        begins = [without_space(text, begin, end) for begin, end in spans.tolist()]
        found[place : place + len(spans), 0] = np.asarray(begins, dtype=np.int32) + behind
        found[place : place + len(spans), 1] = spans[:, 1] + behind
    if window.null is not None:
        found[window.null] = NO_ANSWER_HERE
    return found


def _check_answers(split: QuestionSplit, found: Sequence[_Window], max_length: int, stride: int) -> None:
    """Raise `DataError` if some window should hold an answer and none does."""
    held = any(window.label not in ((IGNORED, IGNORED), (window.null, window.null)) for window in found)
    wanted = any(answer != NO_ANSWER for right in split.answers or () for answer in right)
    if not held and (wanted or not split.null_answers):
        raise DataError(
            f"{split.where}: none of its {len(found)} windows holds an answer as a whole, so there is nothing "
            f"to learn (task.max_length is {max_length}, task.stride {stride})",
            hint="raise task.max_length, and task.stride above the length of the answers",
        )


def _template(tokenizer: Any) -> _Template:
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer of `{tokenizer.name_or_path}` cannot tell which characters a token comes from",
            hint="question answering needs a fast tokenizer, one with a tokenizer.json",
        )
    tokenizer.padding_side = "right"  # positions are counted from the left, and a mask hides the padding on the right
    found = tokenizer(["a"], ["a"], verbose=False).encodings[0]
    text = [position for position, sequence in enumerate(found.sequence_ids) if sequence is not None]
    question, context = ([p for p in text if found.sequence_ids[p] == sequence] for sequence in (0, 1))
    ids, kinds = np.asarray(found.ids, dtype=np.int32), found.type_ids
    bounds = (question[0], question[-1] + 1, context[0], context[-1] + 1)
    return _Template(
        head=ids[: bounds[0]],
        middle=ids[bounds[1] : bounds[2]],
        tail=ids[bounds[3] :],
        types=[kinds[0], kinds[bounds[0]], kinds[bounds[2] - 1], kinds[bounds[2]], kinds[-1]],
    )


def null_token(tokenizer: Any) -> int:
    """The token that stands for no answer. Raises `ModelError` as `encode_questions` does."""
    template = _template(tokenizer)
    place = _null_place(tokenizer, template)
    return int((template.head if place >= 0 else template.tail)[place])


def null_before_text(tokenizer: Any) -> bool:
    """Whether the token that stands for no answer comes before the text. Raises `ModelError` if there is none."""
    return _null_place(tokenizer, _template(tokenizer)) >= 0


def _null_place(tokenizer: Any, template: _Template) -> int:
    """The position in a window that stands for no answer, counted from its end if negative.

    It is that of [CLS], or else of a token that begins or ends each text. Raises `ModelError` where there is none.
    """
    head, tail = template.head.tolist(), template.tail.tolist()
    for wanted in (tokenizer.cls_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id):
        if wanted is not None and wanted in head:
            return head.index(wanted)
        if wanted is not None and wanted in tail:
            return tail.index(wanted) - len(tail)
    raise ModelError(
        f"the tokenizer of `{tokenizer.name_or_path}` puts no token before or behind a text, which would stand for "
        "no answer",
        hint=NO_NULL,
    )


def _tokenize(tokenizer: Any, texts: Sequence[str]) -> list[_Text]:
    found: list[_Text] = []
    for start in range(0, len(texts), CHUNK):
        encodings = tokenizer(
            list(texts[start : start + CHUNK]),
            add_special_tokens=False,
            truncation=False,
            padding=False,
            verbose=False,  # no warning about contexts beyond the model's limit: windows are for those
        ).encodings
        found += [
            _Text(np.asarray(one.ids, dtype=np.int32), np.asarray(one.offsets, dtype=np.int32).reshape(-1, 2))
            for one in encodings
        ]
    return found


def _tokens_of(answer: Answer, spans: np.ndarray) -> tuple[int, int]:
    """First and last token with a character of the answer; the last is before the first if there is none."""
    first = np.searchsorted(spans[:, 1], answer.start, side="right")
    last = np.searchsorted(spans[:, 0], answer.start + len(answer.text), side="left") - 1
    return int(first), int(last)


def _no_room(place: str, max_length: int, special: int, question: int, room: int, stride: int) -> DataError:
    if room < 1:
        return DataError(
            f"{place}: task.max_length is {max_length}, but {special} special tokens and a question of {question} "
            "tokens leave no room for the context",
            hint="raise task.max_length, or lower task.max_question_length",
        )
    return DataError(
        f"{place}: task.stride is {stride}, but beside {special} special tokens and a question of {question} tokens "
        f"task.max_length={max_length} leaves {room} for the context, and windows must advance",
        hint=f"task.stride={max(1, room // 2)}, or raise task.max_length",
    )
