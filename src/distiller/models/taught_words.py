"""What a teacher knows of words, in the student's table of tokens.

A training moves the vectors of the words in its texts; of all others a small student knows what its own pretraining
left, and a user's texts are full of them. Here its table is, during a training, its own vectors plus a linear map of
the teacher's: what the map learns from the words that occur holds for every word. At the end the outcome is added into
the table, and the student is an ordinary model again, of the same size and speed.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from distiller.models.cutting import on_meta


class TaughtEmbedding(nn.Embedding):
    """The vectors of `table` plus `teacher` `[tokens, k]` times a matrix `map` `[k, width]`, which begins at zero.

    Both are trained, with what the table is; the teacher's vectors are not, and no checkpoint holds them.
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


def teach_words(
    student: PreTrainedModel, teacher: PreTrainedModel, rows: np.ndarray | None = None, *, special: Iterable[int] = ()
) -> None:
    """Let the student's table of tokens learn a map of the teacher's.

    `rows` `[tokens]` are the teacher's ids of the student's tokens; `None`: both have the same ones. `special` are ids
    of the student whose tokens have a role and no meaning: they keep vectors of their own.
    """
    table, known = _table(student), _table(teacher)
    assert table is not None
    assert known is not None
    vectors = principal(known.weight.detach().float(), table.embedding_dim)
    if rows is not None:
        vectors = vectors[torch.from_numpy(rows).to(vectors.device)]
    missing = max(0, table.num_embeddings - len(vectors))  # rows that fill a table up to a round number
    vectors = nn.functional.pad(vectors, (0, 0, 0, missing))[: table.num_embeddings]
    vectors[list(special)] = 0
    student.set_input_embeddings(TaughtEmbedding(table, vectors))


def settle_words(student: nn.Module) -> None:
    """Give the student an ordinary table again, with all that it has learnt; nothing for one that has."""
    if isinstance(student, PreTrainedModel):
        table = _table(student)
        if isinstance(table, TaughtEmbedding):
            student.set_input_embeddings(table.settled())


def principal(vectors: Tensor, width: int) -> Tensor:
    """The first principal components of `vectors` `[n, d]`, `width` at most: `[n, k]`, of mean square 1."""
    vectors = vectors - vectors.mean(0)
    if width < vectors.shape[1]:
        axes = torch.linalg.eigh((vectors.T @ vectors).double()).eigenvectors[:, -width:]
        # which of its two directions an axis has is nobody's choice, and a resumed training must find the same one
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        vectors = vectors @ (axes * largest.sign()).to(vectors)
    return vectors / vectors.square().mean().sqrt()


def has_words(model_class: Any, config: PretrainedConfig) -> bool:
    """Whether a model of `model_class` (an Auto class) has an ordinary table of tokens; needs no weights."""
    table = _table(on_meta(model_class, config))
    return table is not None and table.max_norm is None and type(table) is nn.Embedding


def _table(model: PreTrainedModel) -> nn.Embedding | None:
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        return None
    return table if isinstance(table, nn.Embedding) else None
