"""Policies: order, reproducibility, labels, failures, and what is kept."""

import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from distiller.augment import Policy, build_policy, check_policy, operators
from distiller.augment.mixup import Mixup
from distiller.augment.passage import Edit, split_words
from distiller.config import Component, parse_run
from distiller.config.names import COMPONENTS
from distiller.errors import ConfigError, ModelError, RunError
from distiller.registry import Entry, Family
from distiller.tasks.data import Answer, QuestionSplit, Split, TaggedSplit
from distiller.tasks.encode import IGNORED

TEXTS = tuple(f"The {n} quick dogs saw a good film in the car of the old man, and ran ({n})." for n in range(12))
LABELS = ("O", "B-PER", "I-PER")


def policy(*choices: Any, **options: Any) -> Policy:
    run = parse_run({"task": {"name": "sst2"}, "teacher": {"model": "x"}, "augmentation": list(choices)})
    return build_policy(run.augmentation, **options)


def swaps(alpha: float = 0.3) -> dict[str, Any]:
    return {"name": "random", "options": {"ra_mode": "swap", "alpha": alpha}}


def with_operator(monkeypatch: pytest.MonkeyPatch, function: Any, **traits: Any) -> None:
    """The operator `stub`, in every place that reads the table."""
    traits = {"on": "text", "expensive": False, "prepare": lambda **_: None} | traits
    table = Family("augmentation operator", {**operators.AUGMENTERS.entries, "stub": Entry(function, "here", traits)})
    monkeypatch.setattr("distiller.augment.policy.AUGMENTERS", table)
    monkeypatch.setitem(COMPONENTS, table.kind, tuple(table))  # type: ignore[arg-type]


def shout(passages: Sequence[Any], rngs: Sequence[Any], *, mark: str = "!") -> list[Edit]:
    """Each word louder."""
    return [tuple((word.upper() + mark,) for word in passage.words) for passage in passages]


def test_a_policy_is_checked_before_anything_is_read() -> None:
    assert list(check_policy([Component(name="random"), Component(name="mixup")])) == ["random", "mixup"]
    for choices, message in (
        (["mixup", "random"], "`random` follows `mixup`"),
        (["random", "random"], "`random` is in the policy twice"),
        (["mixup", "mixup"], "`mixup` is in the policy twice"),
        (["randm"], "no augmentation operator is called `randm`"),
        ([{"name": "random", "options": {"alfa": 1}}], "no option of augmentation operator `random` is called `alfa`"),
        ([{"name": "random", "options": {"alpha": 2}}], "option `alpha`"),
        ([{"name": "mixup", "options": {"alpha": 0}}], "option `alpha`"),
        (["contextual"], "needs the option `model`"),
        (["back_translation"], "needs the option `forward`"),
    ):
        with pytest.raises(ConfigError, match=message):
            policy(*choices)


def test_mixup_is_options_for_the_training() -> None:
    made = policy(swaps(), {"name": "mixup", "options": {"per": "batch"}})
    assert made.mixup == Mixup(alpha=0.4, per="batch", mask="union")
    assert [step.name for step in made.steps] == ["random"]
    assert policy().mixup is None


def test_what_becomes_of_a_row_follows_from_seed_epoch_and_id() -> None:
    made, split = policy(swaps()), Split("train", TEXTS, labels=tuple(range(12)))
    whole = made.augment_split(split, range(12), seed=3, epoch=5)
    assert whole.labels == split.labels
    assert whole.ids == split.ids
    for rows in ([7], [7, 2], list(range(11, -1, -1))):
        assert made.augment_split(split, rows, seed=3, epoch=5) == whole.take(rows)
    part = split.take([4, 9])
    assert made.augment_split(part, [1], seed=3, epoch=5).texts == whole.texts[9:10]
    copy = pickle.loads(pickle.dumps(made))
    assert copy.augment_split(split, range(12), seed=3, epoch=5) == whole
    assert made.augment_split(split, range(12), seed=3, epoch=6) != whole
    assert made.augment_split(split, range(12), seed=4, epoch=5) != whole
    assert split.texts == TEXTS


def test_epochs_may_share_what_is_drawn() -> None:
    made, split = policy(swaps(), refresh=3), Split("train", TEXTS)
    drawn = [made.augment_split(split, range(12), seed=0, epoch=epoch).texts for epoch in range(7)]
    assert drawn[0] == drawn[1] == drawn[2] != drawn[3] == drawn[4] == drawn[5] != drawn[6]


def test_each_operator_takes_what_the_last_one_left(monkeypatch: pytest.MonkeyPatch, masked_lm: str) -> None:
    with_operator(monkeypatch, shout)
    split = Split("train", ("a silly story",))
    mask = {"name": "contextual", "options": {"model": masked_lm, "p": 1.0, "top_k": 1}}
    first = policy(mask, "stub").augment_split(split, [0], seed=0, epoch=0)
    assert first.texts == ("A! GOOD! GOOD!",)
    last = policy("stub", mask).augment_split(split, [0], seed=0, epoch=0)
    assert last.texts == ("A! SILLY! STORY!",)  # words with marks in them are not of letters only
    assert policy(mask, {"name": "stub", "options": {"mark": ""}}, swaps(1.0)).augment_split(
        split, [0], seed=1, epoch=0
    ).texts[0].split() != ["A", "GOOD", "GOOD"]


def test_both_texts_of_a_pair_change_each_for_itself() -> None:
    split = Split("train", TEXTS, pairs=TEXTS, labels=tuple(map(float, range(12))))
    done = policy(swaps()).augment_split(split, range(12), seed=0, epoch=0)
    assert done.pairs is not None
    assert all(a != b for a, b in zip(done.texts, done.pairs, strict=True))
    for side in (done.texts, done.pairs):
        words = [Counter(split_words(text).words) for text in side]
        assert words == [Counter(split_words(text).words) for text in TEXTS]


def test_tagged_words_keep_their_entities(wordnet: str) -> None:
    words = ("Jim", "Smith", "saw", "a", "good", "film", "in", "the", "car", "of", "Ann", ".")
    tags = (1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0)
    split = TaggedSplit("train", (words,) * 20, (tags,) * 20)
    made = policy({"name": "random", "options": {"wordnet": wordnet, "alpha": 0.3}})
    done = made.augment_split(split, range(20), seed=0, epoch=0, labels=LABELS)
    assert done.tags is not None
    assert len({*done.words}) > 5
    assert any(len(row) > len(words) for row in done.words)  # motor vehicle
    for row, known in zip(done.words, done.tags, strict=True):
        assert len(row) == len(known)
        assert [(word, tag) for word, tag in zip(row, known, strict=True) if tag] == [
            ("Jim", 1),
            ("Smith", 2),
            ("Ann", 1),
        ]
    assert made.counts["gold.dropped"] == 0
    hidden = made.augment_split(TaggedSplit("test", (words,)), [0], seed=0, epoch=0, labels=LABELS)
    assert hidden.tags is None


def test_without_an_outside_tag_edited_words_lose_theirs() -> None:
    split = TaggedSplit("train", (("dogs", "run"),) * 2, ((0, 1),) * 2)
    made = policy(swaps())
    done = made.augment_split(split, [0, 1], seed=0, epoch=0, labels=("NOUN", "VERB"))
    assert done.words == (("run", "dogs"),) * 2
    assert done.tags == ((IGNORED, IGNORED),) * 2
    assert made.counts["gold.dropped"] == 4


def test_answers_stay_in_their_contexts_or_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = tuple((Answer("good film", text.index("good")), Answer("(", text.index("("))) for text in TEXTS)
    split = QuestionSplit("train", TEXTS, TEXTS, answers)
    done = policy(swaps(0.5)).augment_split(split, range(12), seed=0, epoch=0)
    assert done.answers is not None
    assert all(a != b for a, b in zip(done.contexts, TEXTS, strict=True))
    assert all(a != b for a, b in zip(done.questions, TEXTS, strict=True))
    for context, found in zip(done.contexts, done.answers, strict=True):
        assert [answer.text for answer in found] == ["good film", "("]
        assert all(context.startswith(answer.text, answer.start) for answer in found)

    def forget(passages: Sequence[Any], rngs: Sequence[Any]) -> list[Edit]:
        """Another text."""
        return ["A good film." if passage.context else None for passage in passages]

    with_operator(monkeypatch, forget)
    made = policy("stub")
    done = made.augment_split(split, [3], seed=0, epoch=0)
    assert done.answers == ((Answer("good film", 2),),)
    assert done.questions == TEXTS[3:4]
    assert made.counts == {"stub.texts": 2, "stub.unchanged": 1, "stub.empty": 1, "gold.dropped": 1}
    assert made.augment_split(QuestionSplit("test", TEXTS, TEXTS), [0], seed=0, epoch=0).answers is None


def test_a_text_that_an_operator_fails_on_stays_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def picky(passages: Sequence[Any], rngs: Sequence[Any]) -> list[Edit]:
        """Fails on any batch with a 3 in it."""
        if any("3" in passage.words for passage in passages):
            raise RuntimeError("three")
        return shout(passages, rngs)

    with_operator(monkeypatch, picky)
    made = policy("stub")
    done = made.augment_split(Split("train", TEXTS), range(12), seed=0, epoch=0)
    assert [n for n in range(12) if done.texts[n] == TEXTS[n]] == [3]
    assert made.counts == {"stub.texts": 12, "stub.failed": 1, "stub.unchanged": 1, "stub.empty": 0}


def test_an_operator_that_always_fails_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(passages: Sequence[Any], rngs: Sequence[Any]) -> list[Edit]:
        """Fails."""
        raise RuntimeError("no\nway")

    with_operator(monkeypatch, broken)
    made, split = policy("stub"), Split("train", TEXTS * 10)
    made.augment_split(split, range(90), seed=0, epoch=0)
    with pytest.raises(RunError, match="`stub` failed on every one of 100 texts or more: RuntimeError: no way"):
        made.augment_split(split, range(90), seed=0, epoch=0)


def test_an_operator_that_always_leaves_nothing_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(passages: Sequence[Any], rngs: Sequence[Any]) -> list[Edit]:
        """Makes nothing."""
        return [None for _ in passages]

    with_operator(monkeypatch, silent)
    made, split = policy("stub"), Split("train", TEXTS * 10)
    assert made.augment_split(split, range(90), seed=0, epoch=0).texts == split.texts[:90]
    with pytest.raises(RunError, match="`stub` made nothing of any of 100 texts or more"):
        made.augment_split(split, range(90), seed=0, epoch=0)


def test_a_user_s_mistake_is_no_failure_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(passages: Sequence[Any], rngs: Sequence[Any]) -> list[Edit]:
        """Fails."""
        raise ModelError("there is no such model")

    with_operator(monkeypatch, wrong)
    with pytest.raises(ModelError):
        policy("stub").augment_split(Split("train", TEXTS), [0], seed=0, epoch=0)


@pytest.mark.parametrize("steady", [True, False])
def test_expensive_edits_are_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, steady: bool) -> None:
    asked: list[str] = []

    def slow(passages: Sequence[Any], rngs: Sequence[Any], *, mark: str = "!") -> list[Edit]:
        """Says what it was asked, with a number of its generator."""
        asked.extend(passage.text for passage in passages)
        return [f"{passage.text} {mark} {rng.random():.6f}" for passage, rng in zip(passages, rngs, strict=True)]

    with_operator(monkeypatch, slow, expensive=True, steady=lambda options: steady)
    split = Split("train", ("a", "b", "a"))
    cached = policy("stub", cache=tmp_path / "edits.sqlite", refresh=2)
    cached.prepare()
    first = cached.augment_split(split, [0, 1, 2], seed=0, epoch=0)
    assert asked == (["a", "b"] if steady else ["a", "b", "a"])  # only a steady operator makes one of equal texts
    again = policy("stub", cache=tmp_path / "edits.sqlite", refresh=2)
    assert again.augment_split(split, [2, 0, 1], seed=0, epoch=1) == first.take([2, 0, 1])
    assert len(asked) == (2 if steady else 3)
    again.augment_split(split, [0], seed=0, epoch=2)
    assert len(asked) == (2 if steady else 4)
    policy({"name": "stub", "options": {"mark": "?"}}, cache=tmp_path / "edits.sqlite").augment_split(
        split, [0], seed=0, epoch=0
    )
    assert len(asked) == (3 if steady else 5)
    if not steady:
        assert policy("stub", refresh=2).augment_split(split, [0, 1, 2], seed=0, epoch=0) == first
