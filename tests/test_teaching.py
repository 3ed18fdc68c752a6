import dataclasses
import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mien.answers import ask
from mien.averaging import estimate_statistics
from mien.classifier import open_model
from mien.config import AUGMENTATIONS, AugmentationPolicy, TrainingConfig
from mien.ensembles import save_ensemble
from mien.epochs import EpochFeed
from mien.errors import DataError, ModelError, UsageError
from mien.feeding import ArraySource
from mien.labels import EXPRESSIONS
from mien.materials import Selection
from mien.modelspec import ModelSpec, write_to_onnx
from mien.networks import network
from mien.preprocessing import InputSpec
from mien.teaching import taught
from mien.trainee import check_models
from mien.training import resume, train
from mien.weights import find_model
from models import save_brightness
from pictures import pattern
from tiny import TINY

PLAIN = TrainingConfig(teacher_view="plain", teacher_weight=0.6)


@pytest.fixture(scope="module")
def student():
    return network(TINY, seed=0)


@pytest.fixture(scope="module")
def source():
    images = np.stack([pattern(index % 7, index) for index in range(14)])[..., None]
    return ArraySource(images, np.arange(14) % 7)


def teacher(path, temperature=1.0):
    save_brightness(path, EXPRESSIONS, np.linspace(0.2, 0.6, 7).tolist(), side="48")
    spec = ModelSpec.from_onnx(path)
    write_to_onnx(path, dataclasses.replace(spec, temperature=temperature, input=InputSpec(48)))
    return str(path)


def test_targets_are_the_share_of_each_and_the_files_temperature_is_left_out(source, student, tmp_path):
    paths = (teacher(tmp_path / "a.onnx", temperature=3.0), str(find_model("mien-small")))
    config = dataclasses.replace(PLAIN, teachers=paths)
    learned = taught(source, config, student, tmp_path / "kept", lambda line: None)
    one, two = (ask(open_model(path), source.images, tta="flip")[1] for path in paths)
    expected = 0.6 * (one + two) / 2 + 0.4 * np.eye(7)[source.labels]
    np.testing.assert_allclose(learned.targets, expected, atol=1e-5)
    np.testing.assert_allclose(learned.targets.sum(axis=1), 1, atol=1e-5)
    assert learned.targets.dtype == np.float32
    images, targets = learned.batch(0, batch_size=5, seed=1, epoch=2)
    rows = [int(np.flatnonzero((learned.images == image).all(axis=(1, 2, 3)))[0]) for image in images]
    np.testing.assert_array_equal(targets, learned.targets[rows])


def test_soft_labels_stay_the_own_part(source, student, tmp_path):
    soft = dataclasses.replace(source, targets=np.full((14, 7), 1 / 7, np.float32))
    config = dataclasses.replace(PLAIN, teachers=(teacher(tmp_path / "a.onnx"),), teacher_weight=0.0)
    learned = taught(soft, config, student, tmp_path / "kept", lambda line: None)
    np.testing.assert_allclose(learned.targets, 1 / 7, atol=1e-6)


def test_teachers_are_asked_once(source, student, tmp_path):
    stored, said = tmp_path / "kept", []
    config = dataclasses.replace(PLAIN, teachers=(teacher(tmp_path / "a.onnx"),))
    first = taught(source, config, student, stored, said.append)
    (tmp_path / "a.onnx").unlink()
    again = taught(source, config, student, stored, said.append)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert said == ["Asking 1 teacher about 14 training images"]


def test_stored_answers_that_do_not_fit_are_refused(source, student, tmp_path):
    np.save(tmp_path / "other.npy", np.zeros((3, 7), np.float32))
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.npy").write_text("answers")
    for name, message in (("other", "holds answers of shape"), ("empty", "cannot be read"), ("text", "cannot be read")):
        folder = tmp_path / f"of-{name}"
        folder.mkdir()
        shutil.copy(tmp_path / f"{name}.npy", folder / "teachers.npy")
        with pytest.raises(DataError, match=f"{message}.* delete it to ask the teachers again"):
            taught(source, dataclasses.replace(PLAIN, teachers=("mien-small",)), student, folder, lambda line: None)


def test_streamed_images_are_refused(tmp_path):
    with pytest.raises(UsageError, match="teacher_view: plain needs the training images in memory"):
        taught(object(), dataclasses.replace(PLAIN, teachers=("a",)), None, tmp_path, lambda line: None)


def test_an_ensemble_may_teach_by_plain_views_and_not_by_the_same(tmp_path):
    both = save_ensemble([find_model("mien-small"), find_model("mien-small")], tmp_path / "both.onnx")
    check_models(dataclasses.replace(PLAIN, teachers=(str(both),)), EXPRESSIONS)
    with pytest.raises(UsageError, match="must be the same"):
        check_models(dataclasses.replace(PLAIN, teachers=(str(both),)), EXPRESSIONS[::-1])


def test_a_whole_run_learns_from_the_teacher_and_says_so(patterns, tmp_path):
    config = TrainingConfig(
        network=TINY, epochs=1, batch_size=16, augmentation=AUGMENTATIONS["none"], teacher_view="plain",
        teachers=(teacher(tmp_path / "a.onnx"),), teacher_weight=1.0,
    )  # fmt: skip
    said: list[str] = []
    result = train(patterns, config, out=tmp_path / "run", selection=Selection(limit=70), say=said.append)
    assert "Asking 1 teacher about 63 training images" in said
    record = json.loads((result.folder / "config.json").read_text())["training"]
    assert (record["teacher_view"], record["teacher_weight"]) == ("plain", 1.0)
    stored = np.load(result.folder / "checkpoints" / "teachers.npy")
    assert stored.shape == (63, 7)
    with pytest.raises(UsageError, match="complete"):
        resume(result.folder)


STORED = dataclasses.replace(
    PLAIN, teacher_view="stored", teacher_views=3, teachers=("mien-small", "mien-small"), precision="float32",
    augmentation=AUGMENTATIONS["standard"],
)  # fmt: skip


@pytest.fixture(scope="module")
def asked(source, student, tmp_path_factory):
    """The source with stored views, their folder, in which asking was killed before, and what was said."""
    folder, said = tmp_path_factory.mktemp("stored"), []
    (folder / ".views-0123456789ab.npy").touch()
    return taught(source, STORED, student, folder, said.append), folder, said


def test_teachers_say_of_each_stored_view_what_they_say_of_it_alone(source, asked):
    learned, _, said = asked
    assert said == ["Asking 2 teachers about 3 views of 14 training images"]
    assert learned.views.shape == (3, 14, 48, 48, 1)
    assert learned.views.dtype == np.uint8
    assert len(np.unique(learned.views.reshape(42, -1), axis=0)) == 42
    model = open_model(find_model("mien-small"))
    for view, targets in zip(learned.views, learned.targets, strict=True):
        expected = 0.6 * ask(model, np.asarray(view))[1] + 0.4 * np.eye(7)[source.labels]
        np.testing.assert_allclose(targets, expected, atol=1e-4)


def test_views_show_the_images_that_they_are_of(source, student, tmp_path):
    """With next to no variation, view and image are nearly one; they are degraded later, and not for teachers."""
    config = dataclasses.replace(STORED, augmentation=AugmentationPolicy(shift=0.001, degrade=1.0), teacher_views=1)
    learned = taught(source, config, student, tmp_path, lambda line: None)
    np.testing.assert_allclose(learned.views[0].astype(float), source.images.astype(float), atol=16)


def test_each_epoch_has_the_next_view_of_all_images(asked):
    learned = asked[0]
    for epoch in range(5):
        parts = [learned.batch(index, batch_size=4, seed=1, epoch=epoch) for index in range(4)]
        images, targets = (np.concatenate([part[half] for part in parts]) for half in (0, 1))
        for image, target in zip(images, targets, strict=True):
            row = int(np.flatnonzero((learned.views[epoch % 3] == image).all(axis=(1, 2, 3)))[0])
            np.testing.assert_array_equal(target, learned.targets[epoch % 3, row])
        assert len(np.unique(images.reshape(14, -1), axis=0)) == 14


def test_stored_views_are_asked_about_once_and_again_where_a_file_is_gone(source, student, asked, tmp_path):
    first, folder, _ = asked
    said: list[str] = []
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    again = taught(source, STORED, student, tmp_path, said.append)
    assert said == []
    np.testing.assert_array_equal(first.views, again.views)
    (tmp_path / "views.npy").unlink()
    anew = taught(source, STORED, student, tmp_path, said.append)
    assert len(said) == 1
    np.testing.assert_array_equal(first.views, anew.views)
    np.testing.assert_allclose(first.targets, anew.targets, atol=1e-5)


@pytest.mark.slow
def test_a_whole_run_learns_from_stored_views_and_leaves_none_behind(patterns, tmp_path):
    changes = {"network": TINY, "epochs": 2, "batch_size": 16, "teachers": ("mien-small",), "teacher_views": 2}
    config = dataclasses.replace(STORED, **changes)
    said: list[str] = []
    result = train(patterns, config, out=tmp_path / "run", selection=Selection(limit=70), say=said.append)
    assert "Asking 1 teacher about 2 views of 63 training images" in said
    kept = result.folder / "checkpoints"
    assert np.load(kept / "teachers.npy").shape == (2, 63, 7)
    assert not (kept / "views.npy").exists()


@pytest.mark.parametrize(("runtime", "of_keras"), [("onnxruntime", True), ("openvino", False)])
def test_int8_files_and_ensembles_say_of_stored_views_what_they_say_of_them_alone(
    source, student, tmp_path, monkeypatch, runtime, of_keras
):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    else:
        monkeypatch.setitem(sys.modules, "openvino", None)
    both = str(save_ensemble([find_model("mien-small"), find_model("mien-small-int8")], tmp_path / "both.onnx"))
    teachers = ("mien-small-int8", *["mien-small"] * of_keras, both)  # Keras is asked about mien-small alone
    check_models(dataclasses.replace(STORED, teachers=teachers), EXPRESSIONS)
    config = dataclasses.replace(STORED, teachers=teachers, teacher_weight=1.0)
    learned = taught(source, config, student, tmp_path / "kept", lambda line: None)
    models = [open_model(path, device="openvino" if runtime == "openvino" else "cpu") for path in teachers]
    for view, targets in zip(learned.views, learned.targets, strict=True):
        expected = sum(ask(model, np.asarray(view))[1] for model in models) / len(models)
        np.testing.assert_allclose(targets, expected, atol=1e-4)


def test_a_teacher_that_openvino_does_not_know_is_asked_by_onnx_runtime(source, student, tmp_path, monkeypatch):
    def refuse(path, **_):
        raise ModelError(f"{path}: cannot be opened by OpenVINO as an ONNX model")

    monkeypatch.setattr("mien.openvino.is_installed", lambda: True)
    monkeypatch.setattr("mien.openvino.Session", refuse)
    config = dataclasses.replace(STORED, teachers=("mien-small-int8",), teacher_weight=1.0)
    learned = taught(source, config, student, tmp_path, lambda line: None)
    expected = ask(open_model("mien-small-int8", device="cpu"), np.asarray(learned.views[0]))[1]
    np.testing.assert_allclose(learned.targets[0], expected, atol=1e-4)


def test_an_ensemble_cannot_answer_in_the_step(tmp_path):
    both = save_ensemble([find_model("mien-small"), find_model("mien-small")], tmp_path / "both.onnx")
    with pytest.raises(ModelError, match="does not hold what is needed to make a Keras model"):
        check_models(dataclasses.replace(STORED, teacher_view="same", teachers=(str(both),)), EXPRESSIONS)


def test_views_that_do_not_fit_the_disk_are_refused_before_asking(source, student, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(
        UsageError, match=r"teacher_views: 3 views of the training images need 0.0 GB, but .* store fewer"
    ):
        taught(source, STORED, student, tmp_path, lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_views_without_augmentation_are_refused():
    with pytest.raises(UsageError, match="teacher_view: stored views are made by the augmentation, and there is none"):
        dataclasses.replace(STORED, augmentation=AUGMENTATIONS["none"])


def test_what_was_left_of_asking_that_was_killed_goes(asked):
    assert sorted(path.name for path in asked[1].iterdir()) == ["teachers.npy", "views.npy"]


def test_batch_norm_is_told_of_the_images_and_not_of_their_views(source, asked):
    learned = asked[0]
    feeds = [EpochFeed(one, np.ones(7, np.float32), batch_size=4, seed=3, epoch=1) for one in (source, learned)]
    for index in range(4):
        np.testing.assert_array_equal(feeds[1].plain(index), feeds[0][index][0][0])
        assert not np.array_equal(feeds[1][index][0][0], feeds[0][index][0][0])
    found = []
    for one in feeds:
        twin = network(TINY, seed=0)
        estimate_statistics(twin, one, 12)
        found.append(twin.get_weights())
    for mine, other in zip(*found, strict=True):
        np.testing.assert_array_equal(mine, other)
