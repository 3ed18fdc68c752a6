import numpy as np
import pytest

from mien.errors import UsageError
from mien.networks import NETWORKS, network


@pytest.mark.parametrize(("channels", "parameters"), [(1, 224_391), (3, 224_967)])
def test_the_seed_network_has_the_seeds_parameters(channels, parameters):
    assert network("seed", channels=channels).count_params() == parameters


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_give_probabilities(name):
    model = network(name, size=32, channels=3, classes=4, seed=0)
    output = np.asarray(model(np.random.default_rng(0).random((5, 32, 32, 3), np.float32)))
    assert output.shape == (5, 4)
    np.testing.assert_allclose(output.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "most"), [("small", 2e6), ("compact", 2e6), ("medium", 4e6), ("slim", 3e6), ("vgg", 7e6), ("large", 7e6)]
)
def test_shipped_networks_stay_small(name, most):
    assert 0.5 * most < network(name).count_params() <= most


@pytest.mark.parametrize("name", ["small", "compact", "medium", "large", "slim", "vgg"])
def test_networks_that_end_in_an_average_fit_pictures_of_any_size(name):
    model = network(name, seed=0)
    other = network(name, size=32, seed=0)
    assert [weight.shape for weight in model.get_weights()] == [weight.shape for weight in other.get_weights()]


def test_equal_seeds_give_equal_weights_and_others_do_not():
    first, again, other = (network("seed", seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_kernels_of_one_network_are_drawn_apart():
    weights = [weight for weight in network("vgg", seed=1).get_weights() if weight.ndim == 4]
    assert not np.array_equal(weights[1].ravel()[:100], weights[2].ravel()[:100])


def test_unknown_names_and_sizes_are_refused():
    with pytest.raises(UsageError, match="choose from compact, large, medium, seed, slim, small, vgg"):
        network("resnet")
    with pytest.raises(UsageError, match="size: networks need at least 16"):
        network("seed", size=12)
    with pytest.raises(UsageError, match=r"no such choice \['seed'\]"):
        network(["seed"])
    with pytest.raises(UsageError, match="size: networks need at least 16 pixels, a whole number, received '48'"):
        network(size="48")
    for classes in (1, 7.5, ["cat", "dog"]):
        with pytest.raises(UsageError, match="classes: must be how many there are, 2 or more, received"):
            network("seed", classes=classes)
    with pytest.raises(UsageError, match="seed: must be a whole number"):
        network(seed="a")
