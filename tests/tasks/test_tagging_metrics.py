"""Scores of tags against a matcher of entities written by hand, and against plain loops."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.errors import ConfigError, ShapeError
from distiller.tasks.data import TaggedSplit, TaskData
from distiller.tasks.entities import Tags, entity_f1, entity_precision, entity_recall, marks_entities
from distiller.tasks.metrics import check_metric, scores

LABELS = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")


def data_of(labels: tuple[str, ...], *metrics: str) -> TaskData:
    split = TaggedSplit("train", (("a",),), ((0,),))
    return TaskData("t", "tagging", labels, metrics, {"train": split, "dev": split})


def entities(sentences: Tags) -> set[tuple[int, str, int, int]]:
    """(sentence, type, first, last) of IOB tags, read word by word."""
    found: set[tuple[int, str, int, int]] = set()
    for number, tags in enumerate(sentences):
        open_at: int | None = None
        for word, tag in enumerate([*tags, "O"]):
            before = tags[word - 1] if word else "O"
            if open_at is not None and (tag[0] != "I" or tag[2:] != before[2:]):
                found.add((number, before[2:], open_at, word - 1))
                open_at = None
            if tag != "O" and open_at is None:
                open_at = word
    return found


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


@st.composite
def pairs_of_tags(draw: st.DrawFn) -> tuple[Tags, Tags]:
    lengths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    side = [st.lists(st.sampled_from(LABELS), min_size=n, max_size=n) for n in lengths]
    return [draw(one) for one in side], [draw(one) for one in side]


@given(sides=pairs_of_tags())
@settings(deadline=None, max_examples=150)
def test_entities_are_those_of_a_matcher_by_hand(sides: tuple[Tags, Tags]) -> None:
    guess, gold = map(entities, sides)
    hits = len(guess & gold)
    assert entity_precision(*sides) == pytest.approx(ratio(hits, len(guess)))
    assert entity_recall(*sides) == pytest.approx(ratio(hits, len(gold)))
    assert entity_f1(*sides) == pytest.approx(ratio(2 * hits, len(guess) + len(gold)))


def test_schemes_by_hand() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"]]
    assert entity_f1([["B-PER", "I-PER", "O", "I-LOC"]], gold) == 1  # a stray I- begins an entity
    assert entity_f1([["B-PER", "I-PER", "O", "I-LOC"]], gold, scheme="IOB2") == pytest.approx(2 / 3)
    assert entity_f1([["B-PER", "O", "O", "B-LOC"]], gold) == 0.5  # half an entity is none
    assert entity_f1([["O"] * 4], gold) == entity_precision([["O"] * 4], gold) == entity_recall(gold, [["O"] * 4]) == 0
    bilou, cut = [["B-PER", "L-PER", "U-PER", "O"]], [["B-PER", "L-PER", "O", "O"]]
    assert entity_recall(cut, bilou) == 0.5
    assert entity_recall(cut, bilou, scheme="BILOU") == 0.5
    assert entity_precision(cut, bilou) == 1
    bmes, parts = [["B-PER", "M-PER", "E-PER", "S-PER"]], [["B-PER", "M-PER", "S-PER", "S-PER"]]
    assert entity_f1(bmes, bmes) == 1
    assert entity_recall(parts, bmes) == 0.5
    for form in ("{place}_{kind}", "{kind}-{place}", "{kind}_{place}"):
        ours, theirs = (
            [["O" if tag == "O" else form.format(place=tag[0], kind=tag[2:]) for tag in tags] for tags in side]
            for side in ([["B-PER", "I-PER", "O", "I-LOC", "B-LOC"]], [["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]])
        )
        assert (entity_precision(ours, theirs), entity_recall(ours, theirs)) == (1 / 3, 0.5)


def test_which_tags_mark_entities() -> None:
    for labels in (
        LABELS,
        ("S-X", "E-X", "O"),
        ("U-X", "L-X"),
        ("I-X", "O"),
        ("B-X", "M-X"),
        ("B_X", "I_X"),
        ("X-B", "O"),
        ("X_B", "O"),
    ):
        assert marks_entities(labels)
    for labels in (
        ("NOUN", "VERB"),
        ("O",),
        ("O", "NOUN"),
        ("B-", "O"),
        ("X-PER", "O"),
        ("-LRB-", "O"),
        ("B-X", "Y-I"),
    ):
        assert not marks_entities(labels)


@given(seed=st.integers(0, 2**16), extra=st.integers(0, 3), left=st.booleans())
@settings(deadline=None, max_examples=40)
def test_only_labelled_tokens_are_scored(seed: int, extra: int, left: bool) -> None:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, len(LABELS), (4, 6))
    gold[rng.random((4, 6)) < 0.4] = -100
    gold[:, 1] = 0
    logits = rng.normal(size=(4, 6, len(LABELS)))
    logits[gold == -100] = np.nan if left else 1e9  # whatever is there
    padded = np.concatenate([logits, np.full((4, extra, len(LABELS)), np.inf)], axis=1)
    found = scores(data_of(LABELS, "entity_f1", "token_accuracy", "token_f1_macro"), padded, gold)
    words = [[(int(logits[r, t].argmax()), int(gold[r, t])) for t in range(6) if gold[r, t] >= 0] for r in range(4)]
    flat = [pair for row in words for pair in row]
    assert found["token_accuracy"] == pytest.approx(sum(p == g for p, g in flat) / len(flat))
    guess, right = (entities([[LABELS[pair[side]] for pair in row] for row in words]) for side in (0, 1))
    assert found["entity_f1"] == pytest.approx(ratio(2 * len(guess & right), len(guess) + len(right)))
    from sklearn.metrics import f1_score

    predictions, answers = zip(*flat, strict=True)
    assert found["token_f1_macro"] == pytest.approx(f1_score(answers, predictions, average="macro"))


def test_shapes_and_divergence() -> None:
    data = data_of(LABELS, "token_accuracy")
    gold = np.zeros((2, 3), dtype=np.int64)
    wrong: list[Any] = [np.zeros((2, 5)), np.zeros((2, 2, 5)), np.zeros((3, 3, 5)), np.zeros((2, 3, 4))]
    for logits in wrong:
        with pytest.raises(ShapeError, match=r"should have shape \[2, 3, 5\]"):
            scores(data, logits, gold)
    with pytest.warns(UserWarning, match="diverged"):
        scores(data, np.full((2, 3, 5), np.nan), gold)


def test_a_metric_has_to_fit_the_tags() -> None:
    check_metric("entity_recall", data_of(LABELS, "entity_f1"))
    check_metric("token_f1_macro", data_of(("NOUN", "VERB"), "token_accuracy"))
    with pytest.raises(ConfigError, match="`entity_f1` is for tags that mark entities"):
        check_metric("entity_f1", data_of(("NOUN", "VERB"), "token_accuracy"))
    with pytest.raises(ConfigError, match="`accuracy` is for classification"):
        check_metric("accuracy", data_of(LABELS, "entity_f1"))
