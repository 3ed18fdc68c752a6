import dataclasses

import keras
import numpy as np
import pytest

from mien import backend
from mien.beginning import start_from
from mien.config import AUGMENTATIONS, AugmentationPolicy, TrainingConfig
from mien.ensembles import save_ensemble
from mien.errors import ModelError, UsageError
from mien.export import describe, save_keras
from mien.learning import make_optimizer
from mien.networks import network
from mien.preprocessing import InputSpec
from mien.sharpness import uphill
from mien.trainee import Teaching, as_inputs, check_models, compile_for_training, open_teacher, resize
from mien.weights import find_model
from pictures import pattern
from tiny import MEAN, TINY

PLAIN = TrainingConfig(
    network=MEAN, batch_size=8, optimizer="sgd", learning_rate=0.1, schedule="constant", precision="float32",
    augmentation=AUGMENTATIONS["none"],
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_step_a_call(monkeypatch):
    monkeypatch.setattr(backend, "steps_per_execution", lambda: 1)


def batch(n=16):
    images = np.stack([pattern(index % 7, index) for index in range(n)])[..., None]
    return images, np.eye(7, dtype=np.float32)[np.arange(n) % 7]


def trainee(config, seed=0, name=MEAN):
    model = network(name, seed=seed)
    return model, compile_for_training(model, config, make_optimizer(config, 10))


def outputs(built, training):
    images, labels = batch()
    given = np.asarray(built.model((images, labels), training=training))
    return given[:, :7], given[:, 7:], labels


def saved(path, model, classes=("a", "b", "c", "d", "e", "f", "g")):
    save_keras(model, describe(model, classes), path)
    return str(path)


def test_validation_sees_the_plain_network_and_smoothed_labels():
    config = dataclasses.replace(PLAIN, label_smoothing=0.1, mixup=0.5, augmentation=AUGMENTATIONS["standard"])
    model, built = trainee(config)
    probabilities, targets, labels = outputs(built, training=False)
    images, _ = batch()
    np.testing.assert_allclose(probabilities, np.asarray(model(images / np.float32(255))), atol=1e-5)
    np.testing.assert_allclose(targets, labels * 0.9 + 0.1 / 7, atol=1e-6)


def test_the_loss_is_cross_entropy_with_smoothed_labels():
    model, built = trainee(dataclasses.replace(PLAIN, label_smoothing=0.2))
    images, labels = batch()
    loss, accuracy = built.model.evaluate(*as_inputs(images, labels), verbose=0)
    answers = np.asarray(model(images / np.float32(255)))
    expected = keras.losses.CategoricalCrossentropy(label_smoothing=0.2)(labels, answers)
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert accuracy == pytest.approx((answers.argmax(1) == labels.argmax(1)).mean())


def test_mixup_mixes_labels_while_training_only():
    _, built = trainee(dataclasses.replace(PLAIN, mixup=1.0))
    _, targets, labels = outputs(built, training=True)
    assert ((targets > 0.01) & (targets < 0.99)).any()
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(outputs(built, training=False)[1], labels)


def test_teachers_see_the_same_view_and_are_left_out_of_validation_and_checkpoints(tmp_path):
    teachers = [network(MEAN, seed=seed) for seed in (5, 6)]
    paths = tuple(saved(tmp_path / f"{index}.keras", teacher) for index, teacher in enumerate(teachers))
    config = dataclasses.replace(PLAIN, teachers=paths, teacher_weight=0.6)
    _, built = trainee(config)
    _, targets, labels = outputs(built, training=True)
    images = batch()[0] / np.float32(255)
    answer = sum(np.asarray(teacher(images, training=False)) for teacher in teachers) / 2
    np.testing.assert_allclose(targets, 0.6 * answer + 0.4 * labels, atol=1e-5)
    assert np.array_equal(outputs(built, training=False)[1], labels)
    alone = trainee(PLAIN)[1].model
    assert [v.shape for v in built.model.variables] == [v.shape for v in alone.variables]
    built.model.train_on_batch((batch()[0], labels), labels)


def test_teachers_get_the_view_before_it_is_shrunk(tmp_path):
    teacher = network(MEAN, seed=5)
    path = saved(tmp_path / "teacher.keras", teacher)
    config = dataclasses.replace(PLAIN, teachers=(path,), teacher_weight=1.0, progressive=(32, 48))
    _, built = trainee(config)
    expected = np.asarray(teacher(batch()[0] / np.float32(255), training=False))
    np.testing.assert_allclose(outputs(built, training=True)[1], expected, atol=1e-5)


@pytest.mark.parametrize("view", ["same", "stored"])
def test_teachers_get_the_view_before_it_is_degraded_and_the_network_what_is_left_of_it(tmp_path, view):
    teacher = network(MEAN, seed=5)
    path = saved(tmp_path / "teacher.keras", teacher)
    policy = AugmentationPolicy(degrade=1.0, shift=0.2 if view == "stored" else 0.0)
    config = dataclasses.replace(PLAIN, teacher_weight=1.0, augmentation=policy, teachers=(path,), teacher_view=view)
    _, built = trainee(config)
    images = batch()[0] / np.float32(255)
    seen = []
    original = built.twin.call
    built.twin.call = lambda x, *args, **kwargs: (seen.append(np.asarray(x)), original(x, *args, **kwargs))[1]
    targets = outputs(built, training=True)[1]
    if view == "same":
        np.testing.assert_allclose(targets, teacher(images, training=False), atol=1e-5)
    assert np.abs(seen[-1] - images).max() > 0.1
    outputs(built, training=False)
    np.testing.assert_allclose(seen[-1], images, atol=1e-6)


def test_teachers_must_fit(tmp_path):
    path = saved(tmp_path / "t.keras", network(MEAN, channels=3))
    with pytest.raises(UsageError, match=r"teachers: .* they must be the same"):
        open_teacher(path, network(MEAN))
    with pytest.raises(UsageError, match="no such file"):
        open_teacher(str(tmp_path / "none.keras"), network(MEAN))


def test_growing_pictures_train_one_network_at_each_size():
    config = dataclasses.replace(PLAIN, progressive=(32, 40, 48), epochs=6)
    assert [config.size_in(epoch) for epoch in range(6)] == [32, 32, 40, 40, 48, 48]
    _, built = trainee(config)
    images, labels = batch()
    seen = []
    original = built.twin.call
    built.twin.call = lambda x, *args, **kwargs: (seen.append(tuple(x.shape[1:3])), original(x, *args, **kwargs))[1]
    for epoch in (0, 1, 2, 5):
        resize(built.model, config.size_in(epoch))
        built.model.fit((images, labels), labels, batch_size=8, epochs=1, verbose=0)
    assert list(dict.fromkeys(seen)) == [(32, 32), (40, 40), (48, 48)]
    built.model.evaluate((images, labels), labels, verbose=0)
    assert seen[-1] == (48, 48)


def test_growing_pictures_need_a_global_average():
    with pytest.raises(UsageError, match="flattens pictures of one size"):
        trainee(dataclasses.replace(PLAIN, network="seed", progressive=(32, 48)), name="seed")


@pytest.mark.parametrize("sizes", [(48, 32), (32, 40), (8, 48), (32.0, 48)])
def test_sizes_must_rise_to_the_inputs(sizes):
    with pytest.raises(UsageError, match="progressive: must be rising sides"):
        dataclasses.replace(PLAIN, progressive=sizes)


def test_a_small_radius_of_sam_trains_like_plain_descent_and_a_large_one_does_not():
    images, labels = batch()
    weights = []
    for radius in (0.0, 1e-7, 0.5):
        _, built = trainee(dataclasses.replace(PLAIN, network=TINY, sam=radius), name=TINY)
        start = [np.array(weight) for weight in built.twin.get_weights()]
        built.model.fit((images, labels), labels, batch_size=16, epochs=1, verbose=0)
        weights.append([now - then for now, then in zip(built.twin.get_weights(), start, strict=True)])
    kernels = [[change for change in run if change.ndim == 4] for run in weights]
    for plain, close, far in zip(*kernels, strict=True):
        assert np.linalg.norm(close - plain) < 0.05 * np.linalg.norm(plain)
        assert np.linalg.norm(far - plain) > 0.2 * np.linalg.norm(plain)


def test_the_step_uphill_has_the_radius_as_its_length():
    slopes = [np.array([3.0, 0.0], np.float32), np.array([[4.0]], np.float32)]
    steps = uphill(slopes, 0.5)
    np.testing.assert_allclose(steps[0], [0.3, 0.0], rtol=1e-6)
    np.testing.assert_allclose(steps[1], [[0.4]], rtol=1e-6)


def test_no_step_is_taken_uphill_where_the_gradient_overflowed():
    for step in uphill([np.array([np.inf, 1.0], np.float32), np.array([2.0], np.float32)], 0.5):
        np.testing.assert_array_equal(step, np.zeros_like(step))


def test_mixed_images_weigh_what_they_show():
    weights = np.arange(1.0, 8.0)
    config = dataclasses.replace(PLAIN, mixup=0.9, label_smoothing=0.1)
    model = network(MEAN, seed=0)
    built = compile_for_training(model, config, make_optimizer(config, 10), weights)
    images, labels = batch()
    trained = np.asarray(built.model((images, labels), training=True))
    assert trained.shape == (16, 15)
    mixed = (trained[:, 7:14] - 0.1 / 7) / 0.9
    assert (mixed.max(1) < 0.95).any()
    np.testing.assert_allclose(trained[:, 14], mixed @ weights, rtol=1e-4)
    expected = np.mean(-trained[:, 14] * (trained[:, 7:14] * np.log(trained[:, :7])).sum(1))
    assert float(built.model.compute_loss(None, labels, trained)) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_array_equal(np.asarray(built.model((images, labels), training=False))[:, 14], np.ones(16))


def test_training_starts_from_a_models_weights_and_new_classes_get_a_new_last_layer(tmp_path):
    trained = network(MEAN, seed=3)
    path = saved(tmp_path / "a.keras", trained)
    same, fewer = network(MEAN, seed=9), network(MEAN, seed=9, classes=3)
    head = fewer.get_weights()[-2:]
    start_from(same, path, "abcdefg")
    start_from(fewer, path, "abc")
    renamed = network(MEAN, seed=9)
    start_from(renamed, path, "gfedcba")
    assert np.array_equal(renamed.get_weights()[0], trained.get_weights()[0])
    assert not np.array_equal(renamed.get_weights()[-2], trained.get_weights()[-2])
    assert all(np.array_equal(a, b) for a, b in zip(same.get_weights(), trained.get_weights(), strict=True))
    assert np.array_equal(fewer.get_weights()[0], trained.get_weights()[0])
    assert all(np.array_equal(a, b) for a, b in zip(fewer.get_weights()[-2:], head, strict=True))
    with pytest.raises(UsageError, match=r"init: .* do not fit 'seed'"):
        start_from(network("seed"), path, "abcdefg")


def test_where_weights_do_not_fit_the_options_that_make_them_fit_are_said(tmp_path):
    own = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Flatten(), keras.layers.Dense(7)], name="own")
    path, colour = saved(tmp_path / "a.keras", network("small")), network("seed", size=64, channels=3)
    said = {
        path: "choose what the file holds: --set network=small, or in Python network='small'",
        saved(tmp_path / "b.keras", colour): "holds: --size 64 --channels 3, or in Python input=InputSpec(64, 3)",
        saved(tmp_path / "c.keras", own): "'own' is none of mien's networks: build it yourself and give it to mien.fit",
    }
    for file, way in said.items():
        with pytest.raises(UsageError) as refused:
            start_from(network("seed"), file, "abcdefg")
        assert str(refused.value).endswith(way)


def test_models_that_cannot_serve_are_named_before_any_work(tmp_path):
    path = saved(tmp_path / "teacher.keras", network(MEAN))
    config = dataclasses.replace(PLAIN, teachers=(path,))
    check_models(config)
    check_models(config, tuple("abcdefg"))
    with pytest.raises(UsageError, match=r"teachers: .* the data has g, f.*in the same order"):
        check_models(config, tuple("gfedcba"))
    with pytest.raises(UsageError, match=r"teachers: .* takes \(48, 48, 1\), but the student takes \(64, 64, 1\)"):
        check_models(dataclasses.replace(config, input=InputSpec(64)))
    both = save_ensemble([find_model("mien-small"), find_model("mien-small")], tmp_path / "both.onnx")
    for changes in ({"teachers": (str(both),)}, {"init": str(both)}):
        with pytest.raises(ModelError, match="is an ensemble"):
            check_models(dataclasses.replace(PLAIN, **changes))
    for changes in ({"teachers": (str(tmp_path / "none.onnx"),)}, {"init": "none.keras"}):
        with pytest.raises(UsageError, match=r"no such file; give the path of .*, or a name: mien-small"):
            check_models(dataclasses.replace(PLAIN, **changes))


def test_teaching_is_a_mean():
    layer = Teaching([lambda x, training: x * 0 + 1.0, lambda x, training: x * 0], 0.5)
    targets = layer(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32), training=True)
    np.testing.assert_allclose(np.asarray(targets), 0.25)


def test_settings_out_of_range_are_refused():
    wrong = {"mixup": 2, "sam": -1, "teacher_weight": 1.5, "teachers": 3, "init": 5, "progressive": 48}
    wrong |= {"teacher_view": "other"}
    for name, value in wrong.items():
        with pytest.raises(UsageError, match=f"{name}: must be"):
            dataclasses.replace(PLAIN, **{name: value})
