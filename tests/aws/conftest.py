from __future__ import annotations

import os
from pathlib import Path

import pytest

from .cloud import Cloud


@pytest.fixture(scope="session")
def cloud() -> Cloud:
    """That of the scenario by which molecule calls us. Raises KeyError outside of molecule."""
    return Cloud(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]))
