from pathlib import Path

import numpy as np
import pytest

from distiller.augment import word_vectors
from distiller.autodistiller.vectors import read_vectors
from distiller.errors import DataError, MissingPackageError


def test_text_file_and_folder_agree(tmp_path: Path) -> None:
    (tmp_path / "glove.txt").write_text("the 1 2 3\ncat 4 5 6.5\n", "utf-8")
    (tmp_path / "words.txt").write_text("the\ncat\n", "utf-8")
    np.save(tmp_path / "vectors.npy", np.array([[1, 2, 3], [4, 5, 6.5]]))
    for source in (tmp_path / "glove.txt", tmp_path):
        found = read_vectors(["cat", "dog"], source)
        assert list(found) == ["cat"]
        np.testing.assert_array_equal(found["cat"], [4, 5, 6.5])


@pytest.mark.parametrize("text", ["", "the 1 2 3\ncat 4 5\n", "the 1 2 3\ncat x y z\n", "the\n"])
def test_what_holds_no_vectors_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.txt").write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"bad\.txt"):
        read_vectors(["cat"], tmp_path / "bad.txt")


def test_missing_places_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="nowhere"):
        read_vectors(["cat"], tmp_path / "nowhere.txt")
    with pytest.raises(DataError, match="no word vectors"):
        read_vectors(["cat"], tmp_path)
    monkeypatch.setattr(word_vectors, "PACKAGE", "no-such-package-of-vectors")
    with pytest.raises(MissingPackageError, match="no-such-package-of-vectors"):
        read_vectors(["cat"], "no-such-package-of-vectors")


def test_glove100_knows_what_is_near(shared: Path) -> None:
    found = read_vectors(["film", "movie", "carburetor"], shared / "data/glove100")
    assert len(found["film"]) == 100

    def cosine(a: str, b: str) -> float:
        return float(found[a] @ found[b] / np.linalg.norm(found[a]) / np.linalg.norm(found[b]))

    assert cosine("film", "movie") > 0.8
    assert "carburetor" not in found or cosine("film", "movie") > cosine("film", "carburetor")


def test_the_default_package_has_fifty_dimensions() -> None:
    pytest.importorskip("pyarrow")
    try:
        found = read_vectors(["film", "movie", "thiswordisnotthere"])
    except MissingPackageError:
        pytest.skip(f"the package {word_vectors.PACKAGE} is not installed")
    assert set(found) == {"film", "movie"}
    assert found["film"].shape == (50,)
