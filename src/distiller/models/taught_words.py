"""Passes the teacher's knowledge of words into the student's embedding table.

Training moves only the embeddings of words in the training texts; for all others a small student knows what its own
pretraining left, and users' texts are full of them. During training the table is therefore the student's own embeddings
plus a linear map of the teacher's: what the map learns from the words that occur holds for every word. At the end the
result is added into the table, and the student is an ordinary model again, of the same size and speed.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distiller.models.cutting import on_meta
from distiller.models.load import token_count

INNER = "##"
"""How WordPiece marks a piece that begins no word."""
MARKS = (INNER, "Ġ", "▁")
"""And how byte-level BPE and SentencePiece mark one that does."""


class TaughtEmbedding(nn.Embedding):
    """The vectors of `table` plus `teacher` `[tokens, k]` times a matrix `map` `[k, width]` that starts at zero.

    Both are trained if the table is; the teacher's vectors are not, and no checkpoint holds them.
    """

    teacher: Tensor

    def __init__(self, table: nn.Embedding, teacher: Tensor) -> None:
        super().__init__(
            table.num_embeddings, table.embedding_dim, padding_idx=table.padding_idx, _weight=table.weight.detach()
        )
        self.weight = table.weight
        self.register_buffer("teacher", teacher.to(table.weight), persistent=False)
        self.map = nn.Parameter(table.weight.new_zeros(teacher.shape[1], table.embedding_dim))

    def forward(self, input: Tensor) -> Tensor:
        """Vectors `[…, width]` of tokens `[…]`."""
        return super().forward(input) + nn.functional.embedding(input, self.teacher) @ self.map

    @torch.no_grad()
    def settled(self) -> nn.Embedding:
        """An ordinary table with the same vectors, in the same weights."""
        self.weight += self.teacher @ self.map
        table = nn.Embedding(
            self.num_embeddings, self.embedding_dim, padding_idx=self.padding_idx, _weight=self.weight.detach()
        )
        table.weight = self.weight
        return table


def teach_words(student: PreTrainedModel, vectors: Tensor, *, special: Iterable[int] = ()) -> None:
    """Let the student's embedding table learn a map of the teacher's `vectors` of its tokens, `[tokens, d]`.

    `special` are ids of tokens of the student that have a role and no meaning: their embeddings stay their own.
    """
    table = _table(student)
    assert table is not None
    vectors = principal(vectors, table.embedding_dim)
    missing = max(0, table.num_embeddings - len(vectors))  # rows that pad a table to a round number
    vectors = nn.functional.pad(vectors, (0, 0, 0, missing))[: table.num_embeddings]
    vectors[list(special)] = 0
    student.set_input_embeddings(TaughtEmbedding(table, vectors))


def settle_words(student: nn.Module) -> None:
    """Give the student an ordinary table again, with all that it has learnt; a no-op if it has one."""
    if isinstance(student, PreTrainedModel):
        table = _table(student)
        if isinstance(table, TaughtEmbedding):
            student.set_input_embeddings(table.settled())


def vectors_of_tokens(
    teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, teacher_tokenizer: PreTrainedTokenizerBase
) -> Tensor:
    """The teacher's vectors for the tokens of `tokenizer`, float32 `[tokens, d]`.

    A token in both vocabularies, with the same mark for the start of a word, has the teacher's vector; any other one
    the mean over the tokens in which the teacher reads its text and, if there are none, the mean of all.
    """
    table = _table(teacher)
    assert table is not None
    known = table.weight.detach().float()
    ours, theirs = _pieces(tokenizer), _pieces(teacher_tokenizer)
    alike = _mark(ours) == _mark(theirs)
    numbers = {piece: number for number, piece in enumerate(theirs) if piece}
    shared = {number: numbers[piece] for number, piece in enumerate(ours) if alike and piece in numbers}
    found = known.mean(0).repeat(len(ours), 1)
    found[list(shared)] = known[list(shared.values())]
    others = [number for number, piece in enumerate(ours) if piece and number not in shared]
    if not others:
        return found
    texts = texts_of_tokens(tokenizer)
    read = teacher_tokenizer([texts[number] for number in others], add_special_tokens=False)["input_ids"]
    meaningless = set(teacher_tokenizer.all_special_ids)
    for number, ids in zip(others, read, strict=True):
        rows = [one for one in ids if one not in meaningless]
        if rows:
            found[number] = known[rows].mean(0)
    return found


def texts_of_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What each token of a vocabulary looks like in a text: with a space before it where it begins a word."""
    pieces = _pieces(tokenizer)
    mark = _mark(pieces)
    texts: list[str] = []
    for piece, text in zip(pieces, tokenizer.batch_decode([[number] for number in range(len(pieces))]), strict=True):
        if mark == INNER:
            begins = not piece.startswith(INNER) or piece == INNER
            text = text if begins else text.removeprefix(INNER)
        else:
            begins = piece.startswith(mark) if mark else True
        texts.append(f" {text.strip()}" if begins else text.strip())
    return texts


def whole_words(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The tokens of a vocabulary that begin a word and consist of at least three letters."""
    words = (text.strip() for text in texts_of_tokens(tokenizer) if text.startswith(" "))
    return [word for word in words if len(word) >= 3 and word.isalpha()]


def _pieces(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The tokens of a vocabulary by number; empty where a number has none."""
    return [piece or "" for piece in tokenizer.convert_ids_to_tokens(list(range(token_count(tokenizer))))]


def _mark(pieces: Sequence[str]) -> str:
    """How a vocabulary marks the start of a word; empty where it does not."""
    counts = {mark: sum(piece.startswith(mark) and piece != mark for piece in pieces) for mark in MARKS}
    most = max(counts, key=lambda mark: counts[mark])
    return most if counts[most] else ""


def principal(vectors: Tensor, width: int) -> Tensor:
    """At most `width` first principal components of `vectors` `[n, d]`: `[n, k]`, of mean square 1."""
    vectors = vectors - vectors.mean(0)
    if width < vectors.shape[1]:
        axes = torch.linalg.eigh((vectors.T @ vectors).double()).eigenvectors[:, -width:]
        # which of its two directions an axis has is nobody's choice, and a resumed training must find the same one
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        vectors = vectors @ (axes * largest.sign()).to(vectors)
    return vectors / vectors.square().mean().sqrt()


def has_words(model_class: Any, config: PretrainedConfig) -> bool:
    """Whether a model of `model_class` (an Auto class) has an ordinary embedding table; needs no weights."""
    table = _table(on_meta(model_class, config))
    return table is not None and table.max_norm is None and type(table) is nn.Embedding


def _table(model: PreTrainedModel) -> nn.Embedding | None:
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        return None
    return table if isinstance(table, nn.Embedding) else None
