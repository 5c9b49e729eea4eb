"""Shortlists: the lexical model against a slow one, and what a translation may then say."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller.config.translation import Decoding
from distiller.translation import engines, shortlist
from distiller.translation.shortlist import ROUNDS, Shortlist, lexical_shortlist
from translation.tiny import WORDS, sentences, translator

SENTENCE = st.lists(st.integers(0, 5), min_size=1, max_size=6)


def model_1(pairs: list[tuple[list[int], list[int]]]) -> dict[tuple[int, int], float]:
    """IBM's first model as the paper has it: t(f|e), each token of each pair in turn."""
    table = {(e, f): 1.0 for source, target in pairs for e in source for f in target}
    for _ in range(ROUNDS):
        counts: dict[tuple[int, int], float] = dict.fromkeys(table, 0.0)
        for source, target in pairs:
            for f in target:
                whole = sum(table[e, f] for e in source)
                for e in source:
                    counts[e, f] += table[e, f] / whole
        for e, f in table:
            table[e, f] = counts[e, f] / sum(count for (other, _), count in counts.items() if other == e)
    return table


@given(st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=6), st.sampled_from([2, shortlist.BLOCK]))
def test_candidates_are_those_of_a_slow_model(pairs: list[tuple[list[int], list[int]]], block: int) -> None:
    sources, targets = [source for source, _ in pairs], [target for _, target in pairs]
    with patch.object(shortlist, "BLOCK", block):
        found = lexical_shortlist(sources, targets, size=2, common=3)
    table = model_1(pairs)
    counts = {f: sum(target.count(f) for target in targets) for target in targets for f in target}
    assert [counts[f] for f in found.common] == sorted(counts.values(), reverse=True)[:3]
    for e, chosen in found.best.items():
        probable = sorted((p for (other, _), p in table.items() if other == e), reverse=True)
        assert [table[e, f] for f in chosen] == pytest.approx(probable[:2], abs=1e-9)
    assert {e for source in sources for e in source} == set(found.best)


def said(folder: Path, made: Any, words: Any, lines: list[list[int]], together: int) -> list[list[int]]:
    decoding = Decoding(beam=2, max_length=12, engine="ctranslate2")
    found = []
    with engines.converted(folder, engines.bounds_of(made, words, decoding), decoding) as run:
        for start in range(0, len(lines), together):
            found += [hypotheses[0].tokens for hypotheses in run(lines[start : start + together], 0)]
    return found


def test_a_translation_says_what_its_shortlist_has(tmp_path: Path) -> None:
    """Whatever a random model would say, and whatever other sentences were translated before."""
    made, words = translator(tmp_path / "model", seed=3)
    lines = words.encode([source for source, _ in sentences(30)])
    allowed = {word: set(words.encode_targets([WORDS[text]])[0]) for text in WORDS for word in words.encode([text])[0]}
    pieces = Shortlist([], {word: sorted(allowed[word]) for word in allowed})
    plain = engines.convert(made, words, tmp_path / "plain", compute="int8")
    short = engines.convert(made, words, tmp_path / "short", compute="int8", shortlist=pieces)
    everything = Shortlist(list(range(len(words))), {})
    whole = engines.convert(made, words, tmp_path / "whole", compute="int8", shortlist=everything)
    freely = said(plain, made, words, lines, 1)
    assert said(whole, made, words, lines, 1) == freely
    alone = said(short, made, words, lines, 1)
    for line, tokens, free in zip(lines, alone, freely, strict=True):
        may = set().union(*(allowed[word] for word in line))
        assert set(tokens) <= may
        assert not set(free) <= may
    assert [said(short, made, words, [line], 1)[0] for line in lines[-4:]] == alone[-4:]  # by a new engine
