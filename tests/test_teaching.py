import dataclasses
import json

import numpy as np
import pytest

from mien.answers import ask
from mien.classifier import open_model
from mien.config import AUGMENTATIONS, TrainingConfig
from mien.ensembles import save_ensemble
from mien.errors import DataError, UsageError
from mien.feeding import ArraySource
from mien.labels import EXPRESSIONS
from mien.materials import Selection
from mien.modelspec import ModelSpec, write_to_onnx
from mien.preprocessing import InputSpec
from mien.teaching import taught
from mien.trainee import check_models
from mien.training import resume, train
from mien.weights import find_model
from models import save_brightness
from pictures import pattern

PLAIN = TrainingConfig(teacher_view="plain", teacher_weight=0.6)


@pytest.fixture
def source():
    images = np.stack([pattern(index % 7, index) for index in range(14)])[..., None]
    return ArraySource(images, np.arange(14) % 7)


def teacher(path, temperature=1.0):
    save_brightness(path, EXPRESSIONS, np.linspace(0.2, 0.6, 7).tolist(), side="48")
    spec = ModelSpec.from_onnx(path)
    write_to_onnx(path, dataclasses.replace(spec, temperature=temperature, input=InputSpec(48)))
    return str(path)


def test_targets_are_the_share_of_each_and_the_files_temperature_is_left_out(source, tmp_path):
    paths = (teacher(tmp_path / "a.onnx", temperature=3.0), str(find_model("mien-small")))
    config = dataclasses.replace(PLAIN, teachers=paths)
    learned = taught(source, config, 7, tmp_path / "answers.npy", lambda line: None)
    one, two = (ask(open_model(path), source.images, tta="flip")[1] for path in paths)
    expected = 0.6 * (one + two) / 2 + 0.4 * np.eye(7)[source.labels]
    np.testing.assert_allclose(learned.targets, expected, atol=1e-5)
    np.testing.assert_allclose(learned.targets.sum(axis=1), 1, atol=1e-5)
    assert learned.targets.dtype == np.float32
    images, targets = learned.batch(0, batch_size=5, seed=1, epoch=2)
    rows = [int(np.flatnonzero((learned.images == image).all(axis=(1, 2, 3)))[0]) for image in images]
    np.testing.assert_array_equal(targets, learned.targets[rows])


def test_soft_labels_stay_the_own_part(source, tmp_path):
    soft = dataclasses.replace(source, targets=np.full((14, 7), 1 / 7, np.float32))
    config = dataclasses.replace(PLAIN, teachers=(teacher(tmp_path / "a.onnx"),), teacher_weight=0.0)
    learned = taught(soft, config, 7, tmp_path / "answers.npy", lambda line: None)
    np.testing.assert_allclose(learned.targets, 1 / 7, atol=1e-6)


def test_teachers_are_asked_once(source, tmp_path):
    stored, said = tmp_path / "answers.npy", []
    config = dataclasses.replace(PLAIN, teachers=(teacher(tmp_path / "a.onnx"),))
    first = taught(source, config, 7, stored, said.append)
    (tmp_path / "a.onnx").unlink()
    again = taught(source, config, 7, stored, said.append)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert said == ["Asking 1 teacher about 14 training images"]


def test_stored_answers_that_do_not_fit_are_refused(source, tmp_path):
    other, empty, text = (tmp_path / name for name in ("other.npy", "empty.npy", "text.npy"))
    np.save(other, np.zeros((3, 7), np.float32))
    empty.touch()
    text.write_text("answers")
    for stored, message in ((other, "holds answers of shape"), (empty, "cannot be read"), (text, "cannot be read")):
        with pytest.raises(DataError, match=f"{message}.* delete it to ask the teachers again"):
            taught(source, dataclasses.replace(PLAIN, teachers=("mien-small",)), 7, stored, lambda line: None)


def test_streamed_images_are_refused(tmp_path):
    with pytest.raises(UsageError, match="teacher_view: plain needs the training images in memory"):
        taught(object(), dataclasses.replace(PLAIN, teachers=("a",)), 7, tmp_path / "answers.npy", lambda line: None)


def test_an_ensemble_may_teach_by_plain_views_and_not_by_the_same(tmp_path):
    both = save_ensemble([find_model("mien-small"), find_model("mien-medium")], tmp_path / "both.onnx")
    check_models(dataclasses.replace(PLAIN, teachers=(str(both),)), EXPRESSIONS)
    with pytest.raises(UsageError, match="must be the same"):
        check_models(dataclasses.replace(PLAIN, teachers=(str(both),)), EXPRESSIONS[::-1])


def test_a_whole_run_learns_from_the_teacher_and_says_so(patterns, tmp_path):
    config = TrainingConfig(
        epochs=1, batch_size=16, augmentation=AUGMENTATIONS["none"], teachers=(teacher(tmp_path / "a.onnx"),),
        teacher_view="plain", teacher_weight=1.0,
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
