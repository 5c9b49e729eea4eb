"""Attacks: processes are killed, files damaged, inputs garbled. Nothing is lost, and nothing half-made counts.

`DISTILLER_ATTACK=nightly` makes them long; by default they take about a minute.
"""

import os

import pytest
import torch

from cli.conftest import distiller  # noqa: F401 - a fixture
from run.tiny import Workshop, workshop

NIGHTLY = os.environ.get("DISTILLER_ATTACK") == "nightly"


def times(usual: int, nightly: int) -> int:
    """How often something is tried."""
    return nightly if NIGHTLY else usual


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    if torch.accelerator.is_available():
        pytest.skip("these tests fork, which a process that has an accelerator cannot")
    return workshop(tmp_path_factory.mktemp("workshop"))
