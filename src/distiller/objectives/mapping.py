"""Layer mappings: which teacher layer each student layer is compared with.

Layers are counted as in `hidden_states` of `transformers`: 0 is the output of the embeddings, l ≥ 1 that of layer l.
"""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from distiller.errors import ConfigError
from distiller.registry import Entry, Family, Number, Positive


class LayerPair(NamedTuple):
    """One comparison; both numbers index `hidden_states`."""

    student: int
    teacher: int


def skip(teacher_layers: int, student_layers: int, *, include_embeddings: bool = True) -> list[LayerPair]:
    """Evenly spread: student layer j learns from teacher layer ⌊j·M/N⌋, so the top layers always meet.

    With more student than teacher layers, teacher layers repeat. Source: authors' code of arXiv:2109.11105;
    Sun et al. 2019 (PKD-skip), arXiv:1908.09355.
    """
    return [
        LayerPair(j, j * teacher_layers // student_layers) for j in _student_layers(student_layers, include_embeddings)
    ]


def skip_strict(teacher_layers: int, student_layers: int, *, include_embeddings: bool = True) -> list[LayerPair]:
    """Every ⌊M/N⌋-th layer, as printed in the paper: misses the top teacher layers if N does not divide M.

    Raises `ConfigError` if the student has more layers than the teacher. Source: arXiv:2109.11105, section 3.3.1.
    """
    _not_deeper("skip_strict", teacher_layers, student_layers)
    step = teacher_layers // student_layers
    return [LayerPair(j, j * step) for j in _student_layers(student_layers, include_embeddings)]


def last(teacher_layers: int, student_layers: int, *, include_embeddings: bool = True) -> list[LayerPair]:
    """The top N teacher layers: student layer j learns from teacher layer M - N + j.

    With `include_embeddings` the student's embeddings learn from teacher layer M - N. Raises `ConfigError` if the
    student has more layers than the teacher. Source: arXiv:2109.11105, section 3.3.1; PKD-last, arXiv:1908.09355.
    """
    _not_deeper("last", teacher_layers, student_layers)
    offset = teacher_layers - student_layers
    return [LayerPair(j, offset + j) for j in _student_layers(student_layers, include_embeddings)]


def emd(
    teacher_layers: int,
    student_layers: int,
    *,
    include_embeddings: bool = True,
    update_weights: bool = False,
    weight_update: Literal["reciprocal", "softmax"] = "reciprocal",
    temperature: Positive = 1.0,
    mass: Literal["paper", "n_layers"] = "paper",
    solver: Literal["exact", "sinkhorn"] = "exact",
    epsilon: Annotated[float, Field(ge=1e-4), Number] = 0.05,
) -> list[LayerPair]:
    """Many to many, by earth mover's distance: all N·M pairs, weighted at every step by the cheapest transport.

    The pair of embeddings (0, 0) takes no part in the transport and is added with weight 1. `solver: sinkhorn` makes
    the weights change smoothly with the losses, at a total above the minimum; `epsilon`, which only it reads, says how
    smoothly, as a share of the range of the losses. The other options are those of
    `distiller.objectives.transport.Transport`, which does the weighting.
    Source: Li et al. 2020 (BERT-EMD), arXiv:2010.06133; arXiv:2109.11105, section 3.3.2.
    """
    embeddings = [LayerPair(0, 0)] if include_embeddings else []
    return embeddings + [LayerPair(j, i) for j in range(1, student_layers + 1) for i in range(1, teacher_layers + 1)]


def pairs(teacher_layers: int, student_layers: int, *, pairs: list[tuple[int, int]]) -> list[LayerPair]:
    """Your own list of (student layer, teacher layer); 0 is the embeddings, -1 the top layer.

    Raises `ConfigError` for an empty list or a layer that does not exist. Source: this project.
    """
    if not pairs:
        raise ConfigError("layer mapping `pairs` holds no pair", hint="e.g. pairs: [[1, 3], [2, 6]]")
    return [LayerPair(_layer("student", j, student_layers), _layer("teacher", i, teacher_layers)) for j, i in pairs]


def attention_pairs(layer_pairs: list[LayerPair]) -> list[LayerPair]:
    """The pairs that have attention maps, i.e. without those of embeddings; layers still count from 1.

    The map of layer l is entry l - 1 of `attentions` of `transformers`.
    """
    return [pair for pair in layer_pairs if pair.student > 0 and pair.teacher > 0]


def _student_layers(student_layers: int, include_embeddings: bool) -> range:
    return range(0 if include_embeddings else 1, student_layers + 1)


def _not_deeper(name: str, teacher_layers: int, student_layers: int) -> None:
    if student_layers > teacher_layers:
        raise ConfigError(
            f"layer mapping `{name}`: the student has {student_layers} layers, the teacher only {teacher_layers}",
            hint="use `skip`, which repeats teacher layers, or a student with fewer layers",
        )


def _layer(side: str, number: int, layers: int) -> int:
    if not -layers - 1 <= number <= layers:
        raise ConfigError(
            f"layer mapping `pairs`: the {side} has no layer {number}",
            hint=f"0 is the embeddings, 1 to {layers} are layers, -1 is the top layer",
        )
    return number if number >= 0 else number + layers + 1


MAPPING: Family[Callable[..., list[LayerPair]]] = Family(
    "layer mapping",
    {
        "skip": Entry(skip, source="arXiv:1908.09355", traits={"transport": False}),
        "skip_strict": Entry(skip_strict, source="arXiv:2109.11105", traits={"transport": False}),
        "last": Entry(last, source="arXiv:1908.09355", traits={"transport": False}),
        "emd": Entry(emd, source="arXiv:2010.06133", traits={"transport": True}),
        "pairs": Entry(pairs, source="this project", traits={"transport": False}),
    },
)
