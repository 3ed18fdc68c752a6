import contextlib
import json
import re
import zipfile

import keras
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.classifier import Classifier, open_model
from mien.cli import main
from mien.errors import MissingExtraError, ModelError, UsageError
from mien.export import (
    WRITERS,
    KerasClassifier,
    describe,
    export_model,
    load_model,
    save_h5,
    save_keras,
    save_litert,
    save_onnx,
)
from mien.kerasfiles import read_spec
from mien.labels import EXPRESSIONS
from mien.modelspec import ModelSpec, write_beside
from mien.networks import network
from tiny import TINY

READABLE = ("h5", "keras", "onnx")
"""The formats that can be read again."""


def trained(name: str = TINY) -> keras.Model:
    """A network whose every weight, running statistics too, has left its first value."""
    model = network(name, size=32, seed=1)
    rng = np.random.default_rng(0)
    weights = [weight + rng.normal(0, 0.05, weight.shape).astype(np.float32) for weight in model.get_weights()]
    model.set_weights(
        [np.abs(w) + 0.5 if "variance" in v.path else w for w, v in zip(weights, model.weights, strict=True)]
    )
    return model


def images(n: int = 9) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, 32, 32, 1), np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network in all formats."""
    folder = tmp_path_factory.mktemp("models")
    model = trained()
    spec = describe(model, EXPRESSIONS, temperature=1.5)
    for suffix, write in WRITERS.values():
        write(model, spec, folder / f"model{suffix}")
    return folder


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_all_formats_predict_the_same(files, batch_size):
    expected = Classifier(files / "model.onnx").predict(images(), batch_size)
    assert expected.std() > 0.01
    for suffix in (".keras", ".h5"):
        opened = open_model(files / f"model{suffix}")
        np.testing.assert_allclose(opened.predict(images(), batch_size), expected, atol=1e-5)
        assert opened.spec == Classifier(files / "model.onnx").spec


def test_no_pictures_give_no_rows(files):
    assert KerasClassifier(files / "model.keras").predict(images(0)).shape == (0, 7)


@pytest.mark.parametrize("source", READABLE)
@pytest.mark.parametrize("kind", READABLE)
def test_every_format_becomes_every_other(files, tmp_path, source, kind):
    suffix = WRITERS[kind][0]
    written = export_model(files / f"model{WRITERS[source][0]}", kind, tmp_path / f"other{suffix}")
    expected = Classifier(files / "model.onnx").predict(images())
    opened = open_model(written)
    np.testing.assert_allclose(opened.predict(images()), expected, atol=1e-5)
    assert opened.spec.classes == EXPRESSIONS
    assert opened.spec.temperature == 1.5


@pytest.mark.parametrize(
    ("name", "shortcuts"), [("vgg", 0), ("small", 4), ("compact", 4), pytest.param("large", 8, marks=pytest.mark.slow)]
)
def test_a_folded_network_comes_back_from_onnx(tmp_path, name, shortcuts):
    """Batch norm after a convolution is folded into its kernel; the recipe undoes it, also beside a shortcut."""
    model = trained(name)
    save_onnx(model, describe(model, EXPRESSIONS), tmp_path / "model.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert not {"BatchNormalization", "Sub"} & set(kinds)
    assert kinds.count("Mul") == (8 if name == "large" else 0)  # squeeze-and-excitation
    assert kinds.count("Add") == shortcuts + 1  # and the bias of the dense layer
    restored, _ = load_model(tmp_path / "model.onnx")
    for a, b in zip(model.get_weights(), restored.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_float16_file_comes_back_with_its_float16_weights(tmp_path):
    model = trained("seed")
    save_keras(model, describe(model, EXPRESSIONS, temperature=1.5), tmp_path / "model.keras")
    half = export_model(tmp_path / "model.keras", "onnx", precision="float16")
    assert half == tmp_path / "model-float16.onnx"
    again = KerasClassifier(export_model(half, "keras"))
    expected = Classifier(half).predict(images())
    np.testing.assert_allclose(again.predict(images()), expected, atol=1e-6)
    assert np.abs(KerasClassifier(tmp_path / "model.keras").predict(images()) - expected).max() > 2e-6
    assert again.spec == Classifier(half).spec
    first = [weight for weight in again.model.get_weights() if weight.size > 4096]
    second = load_model(export_model(again.path, "onnx", tmp_path / "second.onnx", precision="float16"))[0]
    for a, b in zip(first, [w for w in second.get_weights() if w.size > 4096], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)  # rounding twice is rounding once


def test_int8_is_calibrated_on_training_and_cannot_become_keras(patterns, tmp_path):
    model = network("seed", size=32, seed=1)
    save_keras(model, describe(model, EXPRESSIONS), tmp_path / "model.keras")
    written = export_model(tmp_path / "model.keras", "onnx", precision="int8", calibrate=patterns)
    assert written == tmp_path / "model-int8.onnx"
    with pytest.raises(ModelError, match=r"it was quantised.*export from the \.keras or \.h5"):
        export_model(written, "keras")


def test_litert_predicts_the_same_and_carries_the_description(files):
    path = files / "model.tflite"
    expected = Classifier(files / "model.onnx").predict(images())
    np.testing.assert_allclose(Classifier(path).predict(images()), expected, atol=1e-5)
    with zipfile.ZipFile(path) as archive:
        assert ModelSpec.from_dict(json.loads(archive.read("mien.json"))) == Classifier(files / "model.onnx").spec
    assert path.read_bytes()[4:8] == b"TFL3"


def test_litert_that_differs_is_not_kept_and_cannot_be_read_back(files, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"can be run and judged, not turned into a Keras model"):
        export_model(files / "model.tflite", "keras", tmp_path / "back.keras")
    even = lambda session, batch: np.full((len(batch), 7), 1 / 7, np.float32)  # noqa: E731
    monkeypatch.setattr("mien.litert.Session.run", even)
    model, spec = load_model(files / "model.keras")
    with pytest.raises(ModelError, match=r"model\.tflite: .*differ by"):
        save_litert(model, spec, tmp_path / "model.tflite")
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_of_others_cannot_become_keras(files, tmp_path):
    foreign = onnx.load(files / "model.onnx")
    kept = [item for item in foreign.metadata_props if item.key != "mien.keras"]
    del foreign.metadata_props[:]
    foreign.metadata_props.extend(kept)
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match=r"export from the \.keras or \.h5"):
        export_model(tmp_path / "foreign.onnx", "keras")


def test_what_makes_a_keras_model_may_be_damaged(tmp_path):
    model = trained("seed")  # with weights that are too many for the recipe itself
    save_onnx(model, describe(model, EXPRESSIONS), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx")
    recipe = next(item for item in graph.metadata_props if item.key == "mien.keras")
    whole = json.loads(recipe.value)
    stored = next(entry for entry in whole["weights"] if "initializer" in entry)
    broken = {"initializer": "none", "order": stored["order"], "scale": stored["scale"]}
    lost = [broken if entry is stored else entry for entry in whole["weights"]]
    for value in ("{", "{}", json.dumps({**whole, "weights": lost}), json.dumps({**whole, "weights": []})):
        recipe.value = value
        onnx.save(graph, tmp_path / "model.onnx")
        with pytest.raises(ModelError, match=r"is damaged or does not fit.*export from the \.keras"):
            load_model(tmp_path / "model.onnx")


def test_a_model_that_differs_is_not_kept(tmp_path, monkeypatch):
    model = trained()
    monkeypatch.setattr("mien.export.PARITY_TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="differ by"):
        save_onnx(model, describe(model, EXPRESSIONS), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_converted_is_a_line_with_the_name_of_the_file(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("no such operator\nand pages more")

    model = of_layers()
    monkeypatch.setattr("mien.litert_writing.write", fails)
    with pytest.raises(ModelError) as refused:
        save_litert(model, describe(model, EXPRESSIONS), tmp_path / "model.tflite")
    assert str(refused.value) == f"{tmp_path / 'model.tflite'}: the network cannot be converted (no such operator)"
    monkeypatch.setattr("mien.export._convert", lambda model, spec, kind, path, *_: path.write_bytes(b"no graph"))
    with pytest.raises(ModelError, match=rf"^{re.escape(str(tmp_path / 'model.onnx'))}: "):
        save_onnx(model, describe(model, EXPRESSIONS), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_files_of_networks_in_16_bits_are_opened_in_float32(policy, tmp_path):
    layers = keras.layers
    within = [layers.Conv2D(4, 3, activation="gelu"), layers.BatchNormalization(), layers.GlobalAveragePooling2D()]
    last = layers.Dense(7, activation="softmax", dtype=policy)
    half = [type(layer).from_config({**layer.get_config(), "dtype": policy}) for layer in within]
    model = keras.Sequential([keras.Input((32, 32, 1)), keras.Sequential(half), last])
    for suffix, save in ((".keras", save_keras), (".h5", save_h5)):
        save(model, describe(model, EXPRESSIONS), tmp_path / f"model{suffix}")
    written = export_model(tmp_path / "model.keras", "onnx")
    expected = Classifier(written).predict(images())
    for name in ("model.keras", "model.h5"):
        np.testing.assert_allclose(open_model(tmp_path / name).predict(images()), expected, atol=1e-5)
    assert load_model(written)[0].layers[-1].compute_dtype == "float32"


def test_the_description_is_found_in_the_file_or_beside_it(tmp_path):
    model = trained()
    own = describe(model, EXPRESSIONS)
    beside = describe(model, tuple("abcdefg"))
    save_keras(model, own, tmp_path / "own.keras")
    model.save(tmp_path / "bare.keras")
    with pytest.raises(ModelError, match=r"no config\.json beside it"):
        KerasClassifier(tmp_path / "bare.keras")
    write_beside(tmp_path / "bare.keras", beside)
    assert KerasClassifier(tmp_path / "own.keras").classes == EXPRESSIONS
    assert KerasClassifier(tmp_path / "bare.keras").classes == tuple("abcdefg")


def test_stock_keras_opens_what_was_saved(files):
    for suffix in (".keras", ".h5"):
        model = keras.models.load_model(files / f"model{suffix}", compile=False)
        assert model.count_params() == trained().count_params()
    with zipfile.ZipFile(files / "model.keras") as archive:
        assert json.loads(archive.read("mien.json"))["classes"] == list(EXPRESSIONS)


def test_bad_requests(files, tmp_path):
    with pytest.raises(UsageError, match="choose from h5, keras, litert, onnx"):
        export_model(files / "model.keras", "tflite")
    with pytest.raises(UsageError, match="replace it with --force"):
        export_model(files / "model.keras", "onnx")
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        export_model(files / "model.keras", "onnx", tmp_path / "model.pb")
    with pytest.raises(UsageError, match="no such file"):
        export_model(tmp_path / "none.keras", "onnx")
    with pytest.raises(UsageError, match="float16 is for onnx and litert only, received the format h5"):
        export_model(files / "model.keras", "h5", precision="float16")
    with pytest.raises(UsageError, match="calibrate: is required for int8"):
        export_model(files / "model.keras", "onnx", precision="int8")
    with pytest.raises(UsageError, match="choose from float16, float32, int8"):
        export_model(files / "model.keras", "onnx", precision="int4")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_that_are_cut_short_say_so(files, tmp_path, suffix):
    whole = (files / f"model{suffix}").read_bytes()
    for share in (0, 100, len(whole) // 2):
        (tmp_path / f"cut{suffix}").write_bytes(whole[:share])
        with pytest.raises(ModelError, match=r"cut short|cannot read it"):
            KerasClassifier(tmp_path / f"cut{suffix}")


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
def test_an_archive_with_changed_bytes_is_read_or_called_damaged(tmp_path_factory, changes):
    """`read_spec` alone: the member that holds the description, the archive's own records."""
    path = tmp_path_factory.mktemp("archive") / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mien.json", json.dumps(ModelSpec(("a", "b"), "n", 1).to_dict()))
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    with contextlib.suppress(ModelError):
        read_spec(path)


def test_a_damaged_archive_and_a_wrong_description_say_so(files, tmp_path):
    damaged = bytearray((files / "model.keras").read_bytes())
    start = damaged.index(b"mien.json") + 60
    damaged[start : start + 50] = bytes(50)
    (tmp_path / "damaged.keras").write_bytes(damaged)
    with pytest.raises(ModelError, match=r"is damaged|cannot read it"):
        KerasClassifier(tmp_path / "damaged.keras")
    unknown = bytearray((files / "model.keras").read_bytes())
    unknown[unknown.rindex(b"PK\x01\x02") + 10] = 99  # a compression that there is not, of the last member: mien.json
    (tmp_path / "unknown.keras").write_bytes(unknown)
    with pytest.raises(ModelError, match=r"is damaged .*compression"):
        KerasClassifier(tmp_path / "unknown.keras")
    model = trained()
    save_keras(model, describe(network("seed"), EXPRESSIONS), tmp_path / "wrong.keras")
    with pytest.raises(ModelError, match="but its description says"):
        KerasClassifier(tmp_path / "wrong.keras")


def test_export_replaces_when_forced(files, tmp_path):
    target = tmp_path / "model.h5"
    target.write_text("old")
    export_model(files / "model.keras", "h5", target, force=True)
    assert KerasClassifier(target).spec.parameters == trained().count_params()


def test_another_save_brings_its_own_description(tmp_path):
    model = trained()
    for save, suffix in ((save_h5, ".h5"), (save_keras, ".keras")):
        for classes in (EXPRESSIONS, tuple("abcdefg")):
            save(model, describe(model, classes), tmp_path / f"a{suffix}")
        assert KerasClassifier(tmp_path / f"a{suffix}").classes == tuple("abcdefg")


@pytest.mark.slow
def test_on_another_backend_a_process_with_tensorflow_converts(files, tmp_path, monkeypatch):
    model, spec = load_model(files / "model.keras")
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    save_onnx(model, spec, tmp_path / "model.onnx")
    expected = Classifier(files / "model.onnx").predict(images())
    np.testing.assert_allclose(Classifier(tmp_path / "model.onnx").predict(images()), expected, atol=1e-5)
    monkeypatch.setattr("mien.export.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"writing \.onnx files"):
        save_onnx(model, spec, tmp_path / "other.onnx")
    with pytest.raises(MissingExtraError, match=r"writing \.tflite files \(which TensorFlow converts\)"):
        save_litert(model, spec, tmp_path / "other.tflite")


def test_the_command_tells_what_int8_costs(patterns, tmp_path, capfd):
    model = network("small", size=32, seed=1)
    save_keras(model, describe(model, EXPRESSIONS), tmp_path / "model.keras")
    arguments = ["export", str(tmp_path / "model.keras"), "--format", "onnx", "--precision", "int8"]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--calibrate", str(patterns)])
    assert end.value.code == 0
    shown = capfd.readouterr()
    assert "model-int8.onnx  (1.2" in shown.out
    assert "on 210 training images: the same expression as in float32 for" in shown.out
    assert shown.err == ""


def of_layers(*first: keras.Layer, activation: str = "relu") -> keras.Model:
    """A small network that begins with these layers; every weight, running statistics too, has left its first value."""
    layers = keras.layers
    then = [layers.Conv2D(4, 3, activation=activation), layers.BatchNormalization(), layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((32, 32, 1)), *first, *then, layers.Dense(7, activation="softmax")])
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 2, weight.shape).astype(weight.dtype))
    return model


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
@pytest.mark.parametrize(
    "first",
    [
        keras.layers.Resizing(40, 40),
        keras.layers.CenterCrop(24, 24),
        keras.layers.RandomFlip(),
        keras.layers.Normalization(mean=0.5, variance=0.1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_networks_that_begin_with_layers_of_keras_for_images(tmp_path, first, suffix):
    """They take it for training unless they are told, and batch norm behind them did too."""
    model = of_layers(first)
    path = tmp_path / f"model{suffix}"
    (save_onnx if suffix == ".onnx" else save_litert)(model, describe(model, EXPRESSIONS), path)
    expected = np.asarray(model(images() / np.float32(255), training=False))
    np.testing.assert_allclose(Classifier(path).predict(images()), expected, atol=1e-5)


def test_a_normalisation_adapted_to_data_comes_back_from_onnx(tmp_path):
    first = keras.layers.Normalization()
    model = of_layers(first)
    first.adapt(images() / np.float32(255))
    save_onnx(model, describe(model, EXPRESSIONS), tmp_path / "model.onnx")
    restored, _ = load_model(tmp_path / "model.onnx")  # which compares its answers with the file's
    np.testing.assert_allclose(np.asarray(restored.layers[0].mean), np.asarray(first.mean), atol=1e-6)


def test_gelu_is_converted(tmp_path):
    model = of_layers(activation="gelu")
    save_onnx(model, describe(model, EXPRESSIONS), tmp_path / "model.onnx")
    assert "Erf" in [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
@pytest.mark.parametrize(
    "stack",
    [
        [keras.layers.Conv2D(8, 3), keras.layers.Conv2D(8, 3, groups=4), keras.layers.GlobalAveragePooling2D()],
        [keras.layers.Reshape((8, 128)), keras.layers.LSTM(8)],
        [keras.layers.Reshape((8, 128)), keras.layers.Bidirectional(keras.layers.GRU(8))],
    ],
    ids=["groups", "LSTM", "GRU"],
)
def test_grouped_convolutions_and_recurrent_layers_are_converted(tmp_path, stack, suffix):
    model = keras.Sequential([keras.Input((32, 32, 1)), *stack, keras.layers.Dense(7, activation="softmax")])
    path = tmp_path / f"model{suffix}"
    (save_onnx if suffix == ".onnx" else save_litert)(model, describe(model, EXPRESSIONS), path)
    expected = np.asarray(model(images() / np.float32(255), training=False))
    np.testing.assert_allclose(Classifier(path).predict(images()), expected, atol=1e-5)
    assert not any("convolution_op" in vars(layer) for layer in stack)  # what conversion changed is changed back
    assert not any(getattr(layer, "unroll", False) for layer in stack)


def with_a_model_within() -> keras.Model:
    """A network that holds another, which begins with what was adapted to data."""
    first = keras.layers.Normalization()
    within = keras.Sequential([keras.Input((32, 32, 1)), first, keras.layers.Conv2D(4, 3)])
    layers = [within, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(7, activation="softmax")]
    model = keras.Sequential([keras.Input((32, 32, 1)), *layers])
    first.adapt(images() / np.float32(255))
    return model


def test_a_normalisation_of_a_model_within_comes_back_from_h5(tmp_path):
    """Keras itself leaves it with mean 0 and variance 1."""
    model = with_a_model_within()
    save_h5(model, describe(model, EXPRESSIONS), tmp_path / "model.h5")
    expected = np.asarray(model(images() / np.float32(255)))
    np.testing.assert_allclose(KerasClassifier(tmp_path / "model.h5").predict(images()), expected, atol=1e-6)


def with_an_operation() -> keras.Model:
    faces = keras.Input((32, 32, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.ops.relu(keras.layers.Conv2D(4, 3)(faces)))
    return keras.Model(faces, keras.layers.Dense(7, activation="softmax")(x))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            with_an_operation,
            r"model\.h5: HDF5 does not hold this network: Keras cannot read it \(Unknown layer: 'Relu'",
        ),
        (
            lambda: of_layers(keras.layers.RandomBrightness(0.1, value_range=(0, 1))),
            r"model\.h5: Keras cannot write this network as HDF5 \(cannot pickle",
        ),
    ],
    ids=["operation", "settings"],
)
def test_h5_files_that_do_not_hold_the_network_are_not_kept(tmp_path, model, told):
    network = model()
    with pytest.raises(ModelError, match=told):
        save_h5(network, describe(network, EXPRESSIONS), tmp_path / "model.h5")
    assert list(tmp_path.iterdir()) == []


def test_an_h5_file_of_which_keras_makes_another_network_is_not_kept(tmp_path, monkeypatch):
    network, other = of_layers(), trained()
    monkeypatch.setattr("mien.kerasfiles.load_network", lambda path: other)
    with pytest.raises(ModelError, match="Keras reads another one from it; it was not kept"):
        save_h5(network, describe(network, EXPRESSIONS), tmp_path / "model.h5")
    assert list(tmp_path.iterdir()) == []
