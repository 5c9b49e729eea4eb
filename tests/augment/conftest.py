"""Folders of stubs, written once."""

import pytest

from augment.stubs import write_glove, write_masked_lm, write_wordnet


@pytest.fixture(scope="session")
def masked_lm(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_masked_lm(tmp_path_factory.mktemp("masked-lm"))


@pytest.fixture(scope="session")
def wordnet(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_wordnet(tmp_path_factory.mktemp("wordnet"))


@pytest.fixture(scope="session")
def glove(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_glove(tmp_path_factory.mktemp("glove"))
