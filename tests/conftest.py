"""Shared by all tests: a cache of their own, no TensorFlow log, small labelled pictures."""

import os
from pathlib import Path

import hypothesis
import pytest

from pictures import write_patterns

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # as many workers as cores: threads of TensorFlow would only wait for each other
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# No deadline: machines that run tests do other things beside.
hypothesis.settings.register_profile("mien", deadline=None)
hypothesis.settings.load_profile("mien")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def patterns(tmp_path_factory) -> Path:
    """A folder of 210 training and 2 x 42 test pictures in FER2013's layout."""
    return write_patterns(tmp_path_factory.mktemp("patterns") / "FER2013", train=30, test=6)
