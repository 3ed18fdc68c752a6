"""Shared by all tests: a cache of their own, no TensorFlow log, small labelled pictures."""

import gc
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


LONGEST = (
    *("batch_cluster", "training", "storages_shared", "learning", "docs", "cli", "litert_precisions", "tuning"),
    *("distribution", "page_pictures", "export", "teaching", "local_engine", "page_access", "distribution_hosts"),
    *("cli_predict_ray", "stacks", "cli_demo", "litert", "server_process", "page_live", "training_faces"),
)
"""The files of tests that take longest, about in order."""


def pytest_collection_modifyitems(items):
    """The longest files begin first: with several workers, one that began last would leave the others idle."""
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """No garbage is looked for in what is imported, neither then, which took a quarter of that time, nor later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module", autouse=True)
def tiny_networks(request):
    """In modules that ask for them, the networks of `tiny` are among those that have names.

    TensorFlow leaves their graphs as they are there: it would take longer to make them faster than to run them.
    """
    if not {"TINY", "MEAN"} & vars(request.module).keys():
        yield
        return
    import tensorflow as tf

    from mien.networks import NETWORKS
    from tiny import BUILDERS

    NETWORKS.update(BUILDERS)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    for name in BUILDERS:
        del NETWORKS[name]


@pytest.fixture(scope="session")
def patterns(tmp_path_factory) -> Path:
    """A folder of 210 training and 2 x 42 test pictures in FER2013's layout."""
    return write_patterns(tmp_path_factory.mktemp("patterns") / "FER2013", train=30, test=6)
