"""One workshop for all tests of whole runs."""

import pytest

from run.tiny import Workshop, workshop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("workshop"))
