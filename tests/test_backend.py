import keras
import numpy as np
import pytest

from mien import backend, fastlayers
from mien.fastlayers import FusedBatchNormalization, SmallMapConv2D
from mien.networks import network


def activations(shape=(16, 9, 9, 5)) -> np.ndarray:
    return np.random.default_rng(0).normal(2.0, 3.0, shape).astype(np.float32)


def pair(*shape: int | None) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """The stock layer and the fused one, with the same weights."""
    layers = [keras.layers.BatchNormalization(momentum=0.9), FusedBatchNormalization(momentum=0.9)]
    rng = np.random.default_rng(1)
    weights = [rng.normal(1, 0.3, 5), rng.normal(0, 1, 5), rng.normal(2, 1, 5), rng.uniform(1, 9, 5)]
    for layer in layers:
        layer.build(shape or (None, 9, 9, 5))
        layer.set_weights(weights)
    return layers[0], layers[1]


@pytest.mark.parametrize("training", [True, False])
def test_the_fused_layer_gives_what_the_stock_layer_gives(training):
    stock, fused = pair()
    x = activations()
    expected, found = (np.asarray(layer(x, training=training)) for layer in (stock, fused))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(fused.get_weights()[2], stock.get_weights()[2], rtol=1e-5)
    bessel = 16 * 81 / (16 * 81 - 1)
    np.testing.assert_allclose(fused.get_weights()[3], stock.get_weights()[3], rtol=2 * (bessel - 1))


def test_a_frozen_fused_layer_does_not_learn():
    _, fused = pair()
    fused.trainable = False
    before = fused.get_weights()
    fused(activations(), training=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, fused.get_weights(), strict=True))


def test_the_fused_layer_leaves_vectors_to_the_stock_one():
    stock, fused = pair(None, 5)
    x = activations((32, 5))
    np.testing.assert_allclose(np.asarray(fused(x, training=True)), np.asarray(stock(x, training=True)), atol=1e-5)


@pytest.mark.parametrize("name", ["scale", "center"])
def test_the_fused_layer_leaves_what_its_kernel_cannot_do_to_the_stock_one(name):
    stock, fused = (kind(**{name: False}) for kind in (keras.layers.BatchNormalization, FusedBatchNormalization))
    x = activations()
    np.testing.assert_allclose(np.asarray(fused(x, training=True)), np.asarray(stock(x, training=True)), atol=1e-5)


def test_the_layers_of_models_within_a_model_are_found():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="norm")], name="inner")
    outer = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="first"), inner])
    assert [layer.name for layer in backend.all_layers(outer)] == ["first", "norm"]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_twin_predicts_what_the_network_predicts(precision):
    model = network("vgg", size=32, seed=1)
    twin = backend.training_twin(model, precision)
    x = np.random.default_rng(0).random((4, 32, 32, 1), np.float32)
    output = np.asarray(twin(x))
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, np.asarray(model(x)), atol=1e-5 if precision == "float32" else 0.02)
    assert any(isinstance(layer, FusedBatchNormalization) for layer in twin.layers)
    assert not any(isinstance(layer, FusedBatchNormalization) for layer in model.layers)


def test_weights_travel_back_from_the_twin():
    model = network("seed", seed=1)
    twin = backend.training_twin(model, "mixed_bfloat16")
    twin.set_weights([weight + 1 for weight in twin.get_weights()])
    backend.copy_weights(twin, model)
    assert all(np.array_equal(a, b) for a, b in zip(twin.get_weights(), model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu avx512_bf16 sse", True), ("fpu amx_bf16", True), ("fpu avx2", False), (None, False)]
)
def test_bfloat16_is_found_in_the_processors_flags(flags, expected, tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    if flags is not None:
        info.write_text(f"processor: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(backend, "CPU_INFO", info)
    assert backend.cpu_has_bfloat16() is expected


def test_precision_is_chosen_by_the_machine_only_when_asked_to(monkeypatch):
    monkeypatch.setattr(backend, "has_accelerator", lambda: False)
    monkeypatch.setattr(backend, "cpu_has_bfloat16", lambda: True)
    assert backend.choose_precision("auto") == "mixed_bfloat16"
    assert backend.choose_precision("float32") == "float32"
    monkeypatch.setattr(backend, "cpu_has_bfloat16", lambda: False)
    assert backend.choose_precision("auto") == "float32"


def test_random_streams_follow_from_seed_and_epoch():
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dropout(0.5), keras.layers.Dropout(0.5)])
    x = np.ones((4, 50), np.float32)

    def draw(seed: int, epoch: int) -> np.ndarray:
        backend.reseed(model, seed, epoch)
        return np.asarray(model(x, training=True))

    first = draw(1, 5)
    draw(1, 6)
    np.testing.assert_array_equal(draw(1, 5), first)
    assert not np.array_equal(draw(1, 6), first)
    assert not np.array_equal(draw(2, 5), first)


@pytest.mark.parametrize(("side", "channels", "filters"), [(4, 3, 5), (12, 192, 200), (7, 8, 4)])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_filter_gradients_as_products_are_those_of_the_stock_layer(side, channels, filters, dtype):
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a layer for TensorFlow")
    random = np.random.default_rng(0)
    faces = tf.constant(random.normal(size=(6, side, side + side % 2, channels)).astype(np.float32))
    upstream = random.normal(size=(6, side, side + side % 2, filters)).astype(np.float32)
    keras.utils.set_random_seed(0)
    activation = None if dtype == "mixed_bfloat16" else "relu"  # at whose bend bfloat16 falls to either side
    stock, fast, exact = (
        kind(filters, 3, padding="same", activation=activation, dtype=kind_of_numbers)
        for kind, kind_of_numbers in (
            (keras.layers.Conv2D, dtype),
            (SmallMapConv2D, dtype),
            (keras.layers.Conv2D, "float32"),
        )
    )
    for layer in (stock, fast, exact):
        layer.build(faces.shape)
        layer.set_weights(stock.get_weights())

    def results(layer: keras.Layer) -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            tape.watch(faces)
            answer = tf.cast(layer(faces), tf.float32)
            loss = tf.reduce_sum(answer * upstream)
        slopes = tape.gradient(loss, [faces, *layer.trainable_variables])
        return [answer.numpy(), *(tf.cast(slope, tf.float32).numpy() for slope in slopes)]

    wanted = results(stock)
    wanted[2] = results(exact)[2]  # the stock layer's filter gradients in bfloat16 are coarse where a CPU has only AVX2
    for expected, found in zip(wanted, results(fast), strict=True):
        loose = 0.02 if dtype == "mixed_bfloat16" else 1e-5
        np.testing.assert_allclose(found, expected, atol=loose * np.abs(expected).max(), rtol=0)


def test_the_layer_with_products_leaves_other_convolutions_to_the_stock_layer(monkeypatch):
    pytest.importorskip("tensorflow")
    called = []
    monkeypatch.setattr(fastlayers, "_convolved", lambda maps, kernel: called.append(kernel.shape) or maps)
    for settings in ({"strides": 2}, {"padding": "valid"}, {"dilation_rate": 2}, {"kernel_size": 5}, {"groups": 2}):
        layer = SmallMapConv2D(4, **{"kernel_size": 3, "padding": "same", **settings})
        stock = keras.layers.Conv2D.from_config(layer.get_config())
        faces = np.ones((2, 8, 8, 4), np.float32)
        assert layer(faces).shape == stock(faces).shape
    SmallMapConv2D(4, 3, padding="same")(np.ones((2, 13, 13, 4), np.float32))
    assert not called


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_twin_in_bfloat16_on_a_cpu_takes_filter_gradients_as_products(precision, monkeypatch):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a layer for TensorFlow")
    monkeypatch.setattr(backend, "has_accelerator", lambda: False)
    twin = backend.training_twin(network("compact", seed=0), precision)
    fast = any(isinstance(layer, SmallMapConv2D) for layer in twin.layers)
    assert fast is (precision == "mixed_bfloat16")


def test_convolutions_with_a_bias_stay_stock_in_a_twin():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a layer for TensorFlow")
    faces = keras.Input((8, 8, 1))
    biased = keras.layers.Conv2D(4, 3, padding="same")(faces)
    free = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(biased)
    model = keras.Model(faces, keras.layers.Dense(2)(keras.layers.Flatten()(free)))
    twin = backend.training_twin(model, "mixed_bfloat16")
    kinds = [type(layer) for layer in twin.layers if isinstance(layer, keras.layers.Conv2D)]
    assert kinds == [keras.layers.Conv2D, SmallMapConv2D]


def test_a_normalisation_adapted_to_data_is_the_same_in_a_twin():
    first = keras.layers.Normalization()
    model = keras.Sequential([keras.Input((8, 8, 1)), first, keras.layers.Flatten(), keras.layers.Dense(3)])
    faces = np.random.default_rng(0).uniform(0.2, 0.4, (16, 8, 8, 1)).astype(np.float32)
    first.adapt(faces)
    twin = backend.training_twin(model, "float32")
    np.testing.assert_allclose(np.asarray(twin(faces)), np.asarray(model(faces)), atol=1e-6)


@keras.saving.register_keras_serializable("test_backend")
class Begun(keras.layers.Layer):
    """A layer of a user's own that holds another."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Normalization()

    def build(self, shape):
        self.first.build(shape)

    def call(self, faces):
        return self.first(faces)


def test_layers_within_layers_are_found_once_each():
    begun, shared = Begun(), keras.layers.BatchNormalization()
    within = keras.Sequential([keras.Input((8, 8, 1)), begun, shared])
    faces = keras.Input((8, 8, 1))
    model = keras.Model(faces, shared(within(faces)))
    found = backend.all_layers(model)
    assert [layer for layer in found if layer in (begun.first, shared)].count(shared) == 1
    assert begun.first in found


def test_a_normalisation_within_a_layer_is_the_same_in_a_twin():
    begun = Begun()
    model = keras.Sequential([keras.Input((8, 8, 1)), begun, keras.layers.Flatten(), keras.layers.Dense(3)])
    faces = np.random.default_rng(0).uniform(0.2, 0.4, (16, 8, 8, 1)).astype(np.float32)
    begun.first.adapt(faces)
    twin = backend.training_twin(model, "float32")
    np.testing.assert_allclose(np.asarray(twin(faces)), np.asarray(model(faces)), atol=1e-6)
