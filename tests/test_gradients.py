"""Class activation maps of networks built by hand, so that it is known which place matters."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from mien.backend import gradient
from mien.classifier import open_model
from mien.errors import UsageError
from mien.explaining import open_explainer
from mien.export import describe, save_keras
from mien.gradients import CAMS, Activations, find_layers
from mien.networks import network
from processes import QUICK_XLA

SIZE = 32
UPPER_RIGHT = (slice(0, SIZE // 2), slice(SIZE // 2, SIZE))

OTHER_BACKEND = """
import keras, numpy as np
from keras import ops
from mien.backend import gradient
from mien.gradients import Activations
from mien.networks import network
assert keras.backend.backend() == "{name}"
x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
np.testing.assert_allclose(gradient(lambda t: ops.sum(t**3))(x), 3 * x**2, rtol=1e-4)
np.testing.assert_array_equal(gradient(lambda t: ops.sum(ops.ones(2)))(x), np.zeros((3, 4)))
images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), np.uint8)
model = network("small", size=32)
model.set_weights(list(np.load(r"{weights}").values()))
np.save(r"{maps}", Activations(model).maps(images, np.array([0, 3])))
"""


def quadrant_network(*, sequential: bool) -> keras.Model:
    """Two convolution stages, then a dense layer that reads the upper right quarter of the last map only."""
    stack = [
        layers.Conv2D(4, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(6, 3, padding="same", activation="relu", name="second"),
        layers.Flatten(),
        layers.Dense(2, activation="softmax"),
    ]
    if sequential:
        model = keras.Sequential([keras.Input((SIZE, SIZE, 1)), *stack])
    else:
        faces = x = keras.Input((SIZE, SIZE, 1))
        for layer in stack:
            x = layer(x)
        model = keras.Model(faces, x)
    _set_weights(stack)
    return model


def _set_weights(stack: list[keras.Layer]) -> None:
    rng = np.random.default_rng(0)
    for layer in (stack[0], stack[2]):
        layer.set_weights([rng.normal(0.1, 0.3, layer.kernel.shape), np.zeros(layer.bias.shape)])
    reads = np.zeros((16, 16, 6, 2))
    reads[:8, 8:, :, 1] = rng.uniform(0.0, 0.05, (8, 8, 6))
    stack[4].set_weights([reads.reshape(-1, 2), np.zeros(2)])


def pictures(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIZE, SIZE, 1), np.uint8)


def share_inside(maps: np.ndarray) -> float:
    return float(maps[:, *UPPER_RIGHT].sum() / maps.sum())


@pytest.mark.parametrize("sequential", [False, True])
def test_the_quarter_that_the_network_reads_is_marked(sequential):
    activations = Activations(quadrant_network(sequential=sequential))
    assert len(activations.layers) == 2
    maps = activations.maps(pictures(), np.ones(3, np.int64))
    assert maps.shape == (3, SIZE, SIZE)
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(maps.max(axis=(1, 2)), 1)
    assert maps.min() >= 0
    assert share_inside(maps) > 0.9
    assert maps[:, SIZE // 2 + 4 :].max() == maps[:, :, : SIZE // 2 - 4].max() == 0


def test_mean_gradients_mark_the_whole_face_where_places_matter():
    """Why Grad-CAM itself is not what is used: it forgets where the gradient was."""
    maps = Activations(quadrant_network(sequential=True), "second", cam="gradcam").maps(
        pictures(), np.ones(3, np.int64)
    )
    assert share_inside(maps) < 0.5
    for cam in ("hirescam", "layercam"):
        own = Activations(quadrant_network(sequential=True), "second", cam=cam)
        assert share_inside(own.maps(pictures(), np.ones(3, np.int64))) > 0.9


def test_a_layer_is_chosen_by_name():
    model = quadrant_network(sequential=False)
    assert list(find_layers(model, "second")) == ["second"]
    with pytest.raises(UsageError, match=r"no layer with feature maps is called 'third'; there are .*second"):
        find_layers(model, "third")


@pytest.mark.parametrize(("name", "sides"), [("seed", [46, 21]), ("small", [24, 12, 6]), ("large", [48, 24, 12, 6])])
def test_the_last_layer_of_each_stage_that_is_fine_enough_is_read(name, sides):
    found = find_layers(network(name, seed=0))
    assert [tensor.shape[1] for tensor in found.values()] == sides


def test_where_all_maps_are_coarse_the_finest_is_read():
    stack = [keras.Input((32, 32, 1)), layers.Conv2D(2, 3, strides=16, padding="same"), layers.Conv2D(2, 2, name="one")]
    model = keras.Sequential([*stack, layers.Flatten(), layers.Dense(2, activation="softmax")])
    assert [tensor.shape[1] for tensor in find_layers(model).values()] == [2]


def test_skip_connections_and_networks_inside_networks_are_read():
    keras.utils.set_random_seed(0)  # weights by which something speaks for both classes
    inner = keras.Sequential([keras.Input((16, 16, 4)), layers.Conv2D(4, 3, padding="same", activation="relu")])
    faces = keras.Input((16, 16, 1))
    first = layers.Conv2D(4, 3, padding="same", activation="relu")(faces)
    joined = layers.Add()([first, inner(first)])
    model = keras.Model(faces, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(joined)))
    images = pictures(2)[:, :16, :16]
    for layer in (None, inner.name):
        maps = Activations(model, layer).maps(images, np.array([0, 2]))
        assert maps.shape == (2, 16, 16)
        assert maps.max() == 1


def test_the_gradient_through_the_heads_is_that_of_the_whole_network():
    """HiResCAM of a linear head can be written down: the weights times the activations."""
    faces = keras.Input((8, 8, 1))
    drawn = keras.initializers.RandomUniform(0, 0.5, seed=1)  # positive, so that no map is empty
    maps = layers.Conv2D(3, 3, padding="same", activation="relu", kernel_initializer=drawn, name="maps")(faces)
    head = layers.Dense(2, activation="softmax", use_bias=False)
    model = keras.Model(faces, head(layers.GlobalAveragePooling2D()(maps)))
    head.set_weights([np.array([[0.0, 1.0], [0.5, 0.0], [-0.25, 1.0]], np.float32)])
    images = pictures(1)[:, :8, :8]
    (found,) = Activations(model, "maps", cam="hirescam").maps(images, np.array([1]))
    values = np.asarray(keras.Model(faces, maps)(images / np.float32(255)))[0]
    weights = np.asarray(head.kernel)
    expected = np.maximum(values @ (weights[:, 1] - weights[:, 0]), 0)  # two classes: the odds are the difference
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-4)


def test_a_sure_network_is_explained_too():
    model = quadrant_network(sequential=True)
    images = pictures()
    shares = np.asarray(model(images / np.float32(255)), np.float64)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 30 / np.log(shares[:, 1] / shares[:, 0]).mean(), bias])
    assert float(np.asarray(model(images / np.float32(255)))[:, 1].min()) == 1.0
    assert share_inside(Activations(model).maps(images, np.ones(3, np.int64))) > 0.9


def test_networks_without_feature_maps_are_refused():
    dense = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2, activation="softmax")])
    with pytest.raises(UsageError, match="use occlusion"):
        Activations(dense)


@pytest.mark.parametrize("targets", [[0], [0, 1, 2], [0, 1, -1]])
def test_wrong_targets_are_refused(targets):
    with pytest.raises(UsageError, match="targets"):
        Activations(quadrant_network(sequential=True)).maps(pictures(), np.array(targets))


def test_no_pictures_give_no_maps():
    assert Activations(quadrant_network(sequential=True)).maps(pictures(0), np.empty(0, np.int64)).shape == (0, 32, 32)


def test_other_weights_give_other_maps():
    """The sanity check of Adebayo et al. 2018: a map that does not care for the weights explains nothing."""
    images = np.random.default_rng(2).integers(0, 256, (4, 48, 48, 1), np.uint8)
    first, again, other = (
        Activations(network("small", seed=seed)).maps(images, np.zeros(4, np.int64)) for seed in (1, 1, 2)
    )
    np.testing.assert_allclose(first, again, atol=1e-5)
    correlations = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, other, strict=True)]
    assert max(correlations) < 0.6


def test_the_bundled_onnx_is_explained_by_its_keras_network():
    explainer = open_explainer("mien-small", "gradcam")
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1), np.uint8)
    maps = explainer.maps(images, np.array([3, 5]))
    assert maps.shape == (2, 48, 48)
    assert len(explainer.layers) == 4  # of 48, 24, 12 and 6 places a side
    named = open_explainer("mien-small", layer=explainer.layers[1])  # auto, but a layer is named
    assert (named.method, named.layers) == ("gradcam", explainer.layers[1:2])


@pytest.mark.parametrize("sequential", [False, True])
def test_opening_a_network_often_leaves_it_as_it_was(sequential):
    model = quadrant_network(sequential=sequential)

    def nodes() -> list[int]:
        return [len(layer._inbound_nodes) + len(layer._outbound_nodes) for layer in model.layers]

    before = nodes()
    for _ in range(3):
        Activations(model)
    assert nodes() == before


@pytest.mark.parametrize("sequential", [False, True])
def test_a_keras_file_is_explained(sequential, tmp_path):
    """Keras builds a sequential network anew with each layer that it reads, and layers remember the first graph."""
    model = quadrant_network(sequential=sequential)
    save_keras(model, describe(model, ("dark", "bright")), tmp_path / "model.keras")
    opened = open_model(tmp_path / "model.keras")
    both = [
        open_explainer(opened, method).maps(pictures(), np.ones(3, np.int64)) for method in ("gradcam", "occlusion")
    ]
    assert share_inside(both[0]) > 0.9
    assert share_inside(np.abs(both[1])) > 0.8


def test_a_network_within_one_counts_as_one_layer():
    inside = keras.Input((SIZE, SIZE, 1))
    inner = keras.Model(inside, layers.Conv2D(4, 3, padding="same", activation="relu")(inside), name="inner")
    faces = keras.Input((SIZE, SIZE, 1))
    pooled = layers.GlobalAveragePooling2D()(inner(faces))
    model = keras.Model(faces, layers.Dense(2, activation="softmax")(pooled))
    assert list(find_layers(model)) == ["inner"]
    maps = Activations(model).maps(pictures(), np.ones(3, np.int64))
    assert maps.shape == (3, SIZE, SIZE)
    assert maps.max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jax", "torch"])
def test_other_backends_give_the_same_maps(name, tmp_path):
    pytest.importorskip(name, exc_type=ImportError)
    model = network("small", size=32, seed=1)
    paths = {"weights": tmp_path / "weights.npz", "maps": tmp_path / "maps.npy"}
    np.savez(paths["weights"], *model.get_weights())
    environment = {**os.environ, "KERAS_BACKEND": name, "XLA_FLAGS": QUICK_XLA}
    code = OTHER_BACKEND.format(name=name, **paths)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), np.uint8)
    expected = Activations(model).maps(images, np.array([0, 3]))
    np.testing.assert_allclose(np.load(paths["maps"]), expected, atol=2e-3)


def test_gradients_are_those_of_calculus():
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(gradient(lambda t: keras.ops.sum(t**3))(x), 3 * x**2, rtol=1e-5)
    np.testing.assert_array_equal(gradient(lambda t: keras.ops.sum(keras.ops.ones(2)))(x), np.zeros((3, 4)))


def test_convolutions_that_skip_places_do_not_end_the_process():
    """TensorFlow's gradient by such kernels writes where it must not; that nobody asks for it is what is tested."""
    faces = keras.Input((SIZE, SIZE, 1))
    begun = layers.Conv2D(8, 3, activation="relu", name="begun")(faces)
    aside = layers.BatchNormalization()(layers.Conv2D(16, 1, strides=2, padding="same", use_bias=False)(begun))
    x = layers.SeparableConv2D(16, 3, padding="same", use_bias=False)(begun)
    x = layers.Add()([layers.MaxPooling2D(3, strides=2, padding="same")(x), aside])
    answers = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    activations = Activations(keras.Model(faces, answers), "begun")
    for _ in range(3):
        assert activations.maps(pictures(), np.array([0, 1, 0])).max() == 1


def test_every_way_to_weigh_is_zero_or_more():
    rng = np.random.default_rng(0)
    values, slopes = rng.normal(size=(2, 2, 5, 5, 3)).astype(np.float32)
    for cam in CAMS.values():
        assert cam(values, slopes).shape == (2, 5, 5)
        assert cam(values, slopes).min() >= 0
