import csv
import dataclasses
import json
import re
import shutil
from itertools import pairwise

import keras
import numpy as np
import pytest

import mien
from interrupting import Interrupt
from mien.backend import in_float32
from mien.beginning import start_from
from mien.classifier import Classifier, apply_temperature, open_model
from mien.cli.train import run_training
from mien.config import TrainingConfig
from mien.datasets import load_data, open_dataset
from mien.datasets.conversion import convert
from mien.errors import DataError, MissingExtraError, ModelError, UsageError
from mien.evaluation import evaluate
from mien.export import describe, save_keras
from mien.materials import Selection, gather
from mien.modelspec import ModelSpec, write_to_onnx
from mien.networks import NETWORKS
from mien.preprocessing import InputSpec
from mien.training import fit, resume, train
from mien.training_stages import _notes
from pictures import write_patterns
from processes import running, wait_until
from tiny import TINY

CONFIG = TrainingConfig(
    network=TINY, epochs=3, batch_size=16, validation_fraction=0.2, schedule="constant", learning_rate=0.003
)

RUN_FILES = {
    *("config.json", "history.csv", "curves.png", "confusion.png", "metrics.json", "model.keras"),
    *("face_detection.h5", "model.onnx", "README.md"),
}


@pytest.fixture(scope="module")
def result(patterns, tmp_path_factory):
    config = dataclasses.replace(CONFIG, epochs=1)
    return train(patterns, config, out=tmp_path_factory.mktemp("runs") / "run", epochs=CONFIG.epochs)


@pytest.fixture(scope="module")
def interrupted_run(patterns, tmp_path_factory):
    """A run's folder, to be copied."""
    return train(
        patterns, CONFIG, out=tmp_path_factory.mktemp("runs") / "broken", callbacks=[Interrupt(1)], verbose=False
    ).folder


@pytest.fixture(scope="module")
def untrained():
    """The seed's network, for what is refused before it is trained."""
    return mien.network()


def read_history(folder) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "history.csv").read_text().splitlines()))


def test_a_run_folder_is_complete(result):
    assert {path.name for path in result.folder.iterdir() if path.is_file()} == RUN_FILES
    assert set(result.scores) == {"validation", "test", "public", "private"}
    assert result.scores["test"].n == 84
    assert result.scores["validation"].n == 42
    assert not result.interrupted


def test_public_is_watched_where_it_is_and_a_part_of_training_where_it_is_not(patterns, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=1, validation="public", validation_fraction=0.1, keep="last")
    result = train(patterns, config, out=tmp_path / "public")
    data = json.loads((result.folder / "config.json").read_text())["data"]
    assert (data["validation"], data["n_train"], data["n_validation"]) == ("public", 210, 42)
    assert set(result.scores) == {"test", "public", "private"}
    assert "only PrivateTest is a test" in " ".join((result.folder / "README.md").read_text().split())
    shutil.copytree(patterns, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "test")
    alone = train(tmp_path / "data", config, out=tmp_path / "alone")
    data = json.loads((alone.folder / "config.json").read_text())["data"]
    assert (data["validation"], data["n_train"], data["n_validation"]) == ("holdout", 189, 21)
    assert set(alone.scores) == {"validation"}


def test_the_temperature_is_fitted_on_what_was_held_out(tmp_path, monkeypatch):
    data = write_patterns(tmp_path / "data", train=12, test=2)
    folders = sorted((data / "train").iterdir())
    for folder, other in pairwise(folders):  # some labels that no temperature makes right
        for path in sorted(folder.iterdir())[:3]:
            path.rename(other / f"moved_{path.name}")
    monkeypatch.setattr("mien.calibration.FEWEST", 20)
    said = []
    config = dataclasses.replace(CONFIG, epochs=5, validation_fraction=0.4)
    one = train(data, config, out=tmp_path / "one", say=said.append)
    spec = ModelSpec.from_onnx(tmp_path / "one" / "model.onnx")
    assert spec.temperature == one.spec.temperature != 1.0
    assert spec.trained_on["calibration"] == {"split": "validation", "n": one.scores["validation"].n}
    assert open_model(tmp_path / "one" / "model.keras").spec.temperature == spec.temperature
    assert [line for line in said if line.startswith("Fitted the temperature")]
    # What the files say is what the scores are of, and no decision is another.
    images = open_dataset(data).select("public").load().images
    warm = Classifier(tmp_path / "one" / "model.onnx")
    answers = warm.predict(images)
    write_to_onnx(tmp_path / "one" / "model.onnx", dataclasses.replace(spec, temperature=1.0))
    plain = Classifier(tmp_path / "one" / "model.onnx").predict(images)
    assert (answers.argmax(axis=1) == plain.argmax(axis=1)).all()
    np.testing.assert_allclose(answers, apply_temperature(plain, spec.temperature), atol=1e-6)


def test_too_few_held_out_images_leave_the_temperature(result):
    assert result.spec.temperature == 1.0
    assert "calibration" not in result.spec.trained_on


def test_it_learns(result):
    assert result.scores["test"].accuracy > 0.5
    assert result.history["loss"][-1] < result.history["loss"][0]


@pytest.mark.parametrize("name", ["model.keras", "face_detection.h5", "model.onnx"])
def test_the_files_score_what_the_run_says(result, patterns, name):
    model = open_model(result.folder / name)
    faces = open_dataset(patterns).load().select("private")
    score = evaluate(model.predict, faces.images, faces.labels, classes=model.spec.classes)
    assert score.accuracy == result.scores["private"].accuracy
    assert model.spec.scores["private"]["accuracy"] == score.accuracy


def test_records_agree_with_each_other(result):
    config = json.loads((result.folder / "config.json").read_text())
    metrics = json.loads((result.folder / "metrics.json").read_text())
    rows = read_history(result.folder)
    assert TrainingConfig.from_dict(config["training"]) == CONFIG
    assert config["data"]["n_train"] == 168
    assert metrics["splits"]["public"]["accuracy"] == result.scores["public"].accuracy
    assert [float(row["loss"]) for row in rows] == result.history["loss"]
    assert metrics["epoch"] == result.epoch
    card = (result.folder / "README.md").read_text()
    assert f"{result.scores['public'].accuracy:.1%}" in card
    assert "AI Act" in card


def test_keras_files_are_asked_as_onnx_files_are(result):
    images = [np.full((60, 50), 90, np.uint8), np.full((48, 48, 3), 30, np.uint8)]
    model = open_model(result.folder / "model.keras")
    answers, others = model.classify(images), Classifier(result.folder / "model.onnx").classify(images)
    assert [one.confidence for one in answers] == pytest.approx([other.confidence for other in others], abs=1e-4)


def test_a_result_shows_itself(result):
    assert repr(result).startswith(f"<TrainingResult in {result.folder}: epoch {result.epoch} of 3 kept, validation ")
    assert result._repr_png_() == (result.folder / "curves.png").read_bytes()


def test_published_files_hold_no_path_of_the_machine(result, patterns):
    spec = open_model(result.folder / "model.onnx").spec
    assert str(patterns.parent) not in json.dumps(spec.to_dict())
    assert str(patterns.parent) not in (result.folder / "README.md").read_text()


def test_a_used_folder_is_refused_before_any_work(result, patterns):
    with pytest.raises(UsageError, match="already there; name a new folder"):
        train(patterns, CONFIG, out=result.folder)


def test_settings_may_stand_beside_the_data(tmp_path):
    with pytest.raises(UsageError, match=r"unknown key epoch \(did you mean epochs\?\)"):
        train(tmp_path, epoch=3)
    with pytest.raises(UsageError, match=r"^network: no such choice 'resnet'"):
        train(tmp_path, CONFIG, network="resnet")


def test_a_complete_run_cannot_be_resumed(result):
    with pytest.raises(UsageError, match="is complete"):
        resume(result.folder)


def test_limit_streaming_and_colour(patterns, tmp_path):
    pytest.importorskip("grain", exc_type=ImportError)
    config = dataclasses.replace(CONFIG, epochs=1, input=InputSpec(32, 3))
    streamed = train(patterns, config, out=tmp_path / "run", selection=Selection(limit=100, streaming=True))
    assert streamed.scores["test"].n == 84
    assert streamed.spec.input == InputSpec(32, 3)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["data"]["n_train"] + record["data"]["n_validation"] == 100


def test_ctrl_c_keeps_the_best_model_and_leaves_the_test_unread(patterns, tmp_path, capsys):
    broken = train(patterns, CONFIG, out=tmp_path / "run", callbacks=[Interrupt(1)])
    assert broken.interrupted
    assert set(broken.scores) == {"validation"}
    assert (tmp_path / "run" / "face_detection.h5").is_file()
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert "Training was interrupted before its end" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert "epoch 1/3" in said
    assert f"Interrupted: the model of epoch 1 is saved in {broken.folder}; mien.resume({str(broken.folder)!r})" in said
    assert repr(broken).endswith(", interrupted>")
    finished = resume(tmp_path / "run")
    said = capsys.readouterr().out
    assert "epoch 1/3" not in said
    assert "epoch 3/3" in said
    assert f"test: accuracy {finished.scores['test'].accuracy:.1%}" in said
    assert said.endswith(f"Saved in {finished.folder}\n")
    assert finished.history["epoch"] == [1, 2, 3]
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_ctrl_c_in_the_first_epoch_leaves_nothing_to_save(patterns, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        train(patterns, CONFIG, out=tmp_path / "run", callbacks=[Interrupt(0)], verbose=False)
    assert capsys.readouterr().out == ""
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_resuming_on_other_data_is_refused(patterns, interrupted_run, tmp_path):
    run, data = shutil.copytree(interrupted_run, tmp_path / "run"), shutil.copytree(patterns, tmp_path / "data")
    record = (run / "config.json").read_text().replace(json.dumps(str(patterns)), json.dumps(str(data)))
    assert json.dumps(str(data)) in record
    (run / "config.json").write_text(record)
    next((data / "train" / "happy").iterdir()).unlink()
    with pytest.raises(DataError, match="are not those that"):
        resume(run)


@pytest.mark.slow
def test_resuming_with_a_network_of_other_layers_is_refused(interrupted_run, tmp_path, monkeypatch):
    run = shutil.copytree(interrupted_run, tmp_path / "run")
    record = json.loads((run / "config.json").read_text())
    with monkeypatch.context() as patched:
        patched.setitem(NETWORKS, CONFIG.network, lambda *given, tiny=NETWORKS[TINY]: keras.layers.ReLU()(tiny(*given)))
        with pytest.raises(UsageError, match="'tiny' of other layers than this version of mien has"):
            resume(run)
    record.pop("layers")  # as older versions wrote them
    (run / "config.json").write_text(json.dumps(record))
    assert resume(run).history["epoch"] == [1, 2, 3]


def test_resuming_a_vgg_that_may_have_had_maxima_is_refused(interrupted_run, tmp_path):
    run = shutil.copytree(interrupted_run, tmp_path / "run")
    record = json.loads((run / "config.json").read_text())
    del record["layers"]
    record["training"]["network"] = "vgg"
    (run / "config.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"'vgg' of other layers .*start a new run"):
        resume(run)


def test_the_seeds_four_words(patterns, tmp_path, capsys):
    x_train, y_train, x_test, y_test = load_data(patterns)
    model = mien.network()
    outcome = fit(model, x_train, y_train, x_test, y_test, epochs=1, out=tmp_path / "run")
    said = capsys.readouterr().out
    assert re.search(r"^Training seed \(224,391 parameters\) on ", said, re.M)
    assert re.search(r"^epoch 1/1  loss .*val_accuracy", said, re.M)
    assert re.search(r"^test: accuracy .*, n = 84$", said, re.M)
    assert said.rstrip().endswith(f"Saved in {tmp_path / 'run'}")
    picture = mien.show_results(outcome, tmp_path / "results.png", show=False)
    assert picture.stat().st_size > 5000
    assert (tmp_path / "run" / "face_detection.h5").is_file()
    assert outcome.scores["test"].n == 84
    with pytest.raises(UsageError, match="was trained on arrays"):
        resume(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((4, 48, 48))}, r"x_train: must be \(n, 48, 48, 1\)"),
        ({"x_train": np.full((4, 48, 48, 1), 2.0)}, r"x_train: must be float in \[0, 1\] \(pixels / 255\) or uint8"),
        (
            {"x_train": np.full((4, 48, 48, 1), np.nan)},
            r"x_train: must be float in \[0, 1\] \(pixels / 255\) or uint8.*nan; 4 images hold NaN or infinity",
        ),
        ({"network": "small"}, "network: is that of the model that is trained; leave it out"),
        ({"y_train": np.array([0, 1, 2])}, "y_train: must be 4 integers"),
        (
            {"y_train": np.full((4, 7), 1 / 7)},
            r"y_train: must be 4 integers.*; of shares make y_train\.argmax\(axis=1\)",
        ),
        (
            {"y_train": np.eye(4)},
            "y_train: must be 4 integers.*; one-hot rows have a column for each class",
        ),
        ({"y_train": np.arange(4)[:, None]}, r"y_train: must be 4 integers.*; give y_train\.ravel\(\)"),
        ({"y_train": np.arange(4.0)}, r"y_train: must be 4 integers.*; give y_train\.astype\(int\)"),
        ({"y_train": ["sad"] * 4}, r"y_train: must be 4 integers.*; of names make \[classes\.index\(name\)"),
        ({"y_train": np.arange(4) + 4}, "y_train: must be from 0 to 6, received 4 to 7$"),
        (
            {"y_train": [1, 2, 3, 7]},
            "y_train: must be from 0 to 6, received 1 to 7; where they begin at 1, give y_train",
        ),
        ({"x_train": np.full((4, 48, 48, 1), 200.0)}, r"x_train: must be float in \[0, 1\].*; give x_train / 255"),
        (
            {"x_train": np.full((4, 48, 48, 1), 200)},
            r"x_train: must be float in \[0, 1\].*; give x_train\.astype\('uint8'\)",
        ),
        (
            {"x_train": np.full((4, 48, 48, 1), -1.0)},
            r"x_train: must be float in \[0, 1\].*; give \(x_train \+ 1\) / 2",
        ),
        ({"x_train": np.full((4, 48, 48, 1), 1 / 255)}, "x_train: has no pixel above 0.003922, all images are black"),
        ({"x_train": np.ones((4, 48, 48, 1), np.uint8)}, "x_train: has no pixel above 1, all images are black"),
        ({"x_train": (image for image in ())}, "x_train: must be .*received generator; make one array of all images"),
        (
            {"x_train": [np.zeros((48, 48, 1)), np.zeros((32, 32, 1))]},
            "x_train: must be one array, received a list whose",
        ),
        ({"classes": ["a"] * 7}, "classes: no two names may be alike"),
        ({"classes": 7}, r"classes: must be the names of the outputs, in their order, \('happy', 'sad'\), received 7"),
        ({"classes": set("abcdefg")}, "classes: must be the names of the outputs, in their order"),
        ({"classes": (name for name in "abcdefg")}, "classes: must be .*, received <generator"),
        ({"classes": "abcdefg"}, "classes: must be the names of the outputs"),
        ({"x_train": np.zeros((0, 48, 48, 1))}, r"n at least 1; received \(0, 48, 48, 1\)$"),
        ({"recipe": "cpu"}, r"unknown key recipe \(here config=mien.recipe\(...\)\)"),
        ({"classes": range(7)}, "classes: must be a name that is not empty, received 0"),
        ({"config": "cpu"}, r"config: must be a TrainingConfig, such as mien.recipe\('cpu'\) gives, received 'cpu'"),
        ({"progressive": (32, 48), "validation_fraction": 0}, "progressive: the network 'seed' flattens pictures"),
        ({"y_train": np.array([0, 1, 2, 7])}, "y_train: must be from 0 to 6"),
        ({"epoch": 3}, "unknown key epoch"),
    ],
)
def test_bad_arrays_are_named(change, message, untrained, tmp_path):
    arguments = {"x_train": np.zeros((4, 48, 48, 1)), "y_train": np.arange(4), "out": tmp_path / "run", **change}
    with pytest.raises(UsageError, match=message):
        fit(untrained, **arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "model",
    [
        "seed",
        keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(7)]),
        keras.Sequential([keras.Input((None, None, 1)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(7)]),
        keras.Sequential([keras.Input((2304,)), keras.layers.Dense(7, activation="softmax")]),
        keras.Sequential([keras.Input((48, 40, 1)), keras.layers.Flatten(), keras.layers.Dense(7)]),
        keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Conv2D(7, 3)]),
    ],
)
def test_models_that_cannot_be_trained_are_refused_before(model, tmp_path):
    with pytest.raises(UsageError, match=r"model: must be a Keras model, built, from \(n, size, size, channels\)"):
        fit(model, np.zeros((4, 48, 48, 1)), np.arange(4), out=tmp_path / "run")


def test_a_subclassed_model_is_told_how_to_be_wrapped(tmp_path):
    with pytest.raises(UsageError, match=r"received a subclass, Looking, .*; wrap it, as in faces = keras\.Input"):
        fit(Looking(), np.zeros((4, 48, 48, 1)), np.arange(4), out=tmp_path / "run")


def test_a_model_without_a_softmax_is_refused_before_it_is_trained(tmp_path):
    model = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Flatten(), keras.layers.Dense(7)])
    with pytest.raises(ModelError, match="model: gave values that are not probabilities; its last layer must be a"):
        fit(model, np.zeros((4, 48, 48, 1)), np.arange(4), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_may_not_be_meant_is_said(tmp_path):
    data = write_patterns(tmp_path / "data", train=6, test=1)
    shutil.rmtree(data / "train" / "disgust")
    said = []
    config = dataclasses.replace(CONFIG, epochs=1, validation_fraction=0.0, early_stopping=3)
    train(data, config, out=tmp_path / "run", say=said.append)
    assert "No training image shows disgust: the network cannot learn to tell them" in said
    assert "There are no validation images to watch, so early stopping never ends it" in said


def test_settings_that_change_nothing_are_named(patterns):
    config = TrainingConfig(validation="public", validation_fraction=0.2, teacher_view="plain", teacher_weight=0.9)
    told = list(_notes(config, gather(open_dataset(patterns), config, Selection())))
    assert any("teacher_weight, teacher_view changes nothing; --teacher MODEL names one" in line for line in told)
    assert any("the data's split public, so nothing is held out, whatever validation_fraction" in line for line in told)
    assert not list(_notes(CONFIG, gather(open_dataset(patterns), CONFIG, Selection())))


def test_what_streams_cannot_do_is_refused_before_their_images_are_read(patterns, tmp_path, monkeypatch):
    monkeypatch.setattr("mien.materials.check_images", lambda *arguments, **options: pytest.fail("too late"))
    streamed = Selection(streaming=True)
    config = dataclasses.replace(CONFIG, teachers=("mien-small",), teacher_view="plain")
    with pytest.raises(UsageError, match="teacher_view: plain needs the training images in memory"):
        train(patterns, config, out=tmp_path / "run", selection=streamed)
    convert(patterns, tmp_path / "faces.npz")
    with pytest.raises(UsageError, match=r"npz cannot be streamed; load it whole \(--in-memory\)"):
        train(tmp_path / "faces.npz", CONFIG, out=tmp_path / "run", selection=streamed)
    assert not (tmp_path / "run").exists()


def test_without_a_converter_nothing_that_was_learnt_is_lost(patterns, tmp_path, monkeypatch):
    def refuse(model, description, path):
        path.write_text("of an earlier epoch, as after an interruption")
        raise MissingExtraError("writing .onnx files", "train")

    monkeypatch.setattr("mien.artefacts.save_onnx", refuse)
    said = []
    outcome = train(patterns, dataclasses.replace(CONFIG, epochs=1), out=tmp_path / "run", say=said.append)
    assert {path.name for path in (tmp_path / "run").iterdir() if path.is_file()} == RUN_FILES - {"model.onnx"}
    assert outcome.scores["test"].n == 84
    assert any("model.onnx is left out" in line and "mien export" in line for line in said)


def test_strays_are_left_out_of_streams_too(tmp_path):
    pytest.importorskip("grain", exc_type=ImportError)
    data = write_patterns(tmp_path / "data", train=6, test=1)
    (data / "train" / "stray.png").write_bytes(next((data / "train" / "happy").iterdir()).read_bytes())
    config = dataclasses.replace(CONFIG, epochs=1)
    with pytest.raises(DataError, match=r"stray\.png"):
        train(data, config, out=tmp_path / "run", selection=Selection(streaming=True))
    chosen = Selection(streaming=True, skip_bad=True)
    assert train(data, config, out=tmp_path / "run", selection=chosen).scores["test"].n == 14


def test_the_record_says_which_precision_was_used(result):
    assert json.loads((result.folder / "config.json").read_text())["precision"] in ("float32", "mixed_bfloat16")


def test_a_model_of_other_classes_is_refused_before_it_is_trained(tmp_path):
    x, y = np.zeros((4, 48, 48, 1)), np.zeros(4, int)
    said = "classes: must name the 3 outputs of the model, received 7 names; classes=data.classes gives"
    with pytest.raises(UsageError, match=said):
        fit(mien.network(classes=3), x, y, out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"received an array \(4, 48, 48, 1\); the model comes first$"):
        fit(x, y, mien.network(), out=tmp_path / "run")
    with pytest.raises(UsageError, match="give both, or neither"):
        fit(mien.network(), x, y, x_test=x, out=tmp_path / "run")


def test_bad_images_are_left_out_when_asked_and_counted(tmp_path):
    data = write_patterns(tmp_path / "data", train=6, test=1)
    victim = next((data / "train" / "happy").iterdir())
    victim.write_bytes(b"rubbish")
    config = dataclasses.replace(CONFIG, epochs=1)
    with pytest.raises(DataError, match=victim.name):
        train(data, config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    said = []
    train(data, config, out=tmp_path / "run", selection=Selection(skip_bad=True), say=said.append)
    assert any(line.startswith("Left out 1 file or row that cannot be used") and victim.name in line for line in said)


def test_a_selection_is_one(tmp_path):
    with pytest.raises(UsageError, match=r"selection: must be a Selection, such as .*limit=1000\), received \{'limit'"):
        train(tmp_path, CONFIG, out=tmp_path / "run", selection={"limit": 3})


def test_too_few_images_to_hold_out(tmp_path):
    with pytest.raises(DataError, match="--validation-fraction 0"):
        train(write_patterns(tmp_path / "data", train=2, test=1), CONFIG, out=tmp_path / "run")


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_end(patterns, tmp_path):
    """kill -9 in the middle of an epoch, in a process of its own; then --resume."""
    settings = ("--epochs", "6", "--batch-size", "16", "--deterministic", "--precision", "float32")

    with running("train", patterns, *settings, "--out", tmp_path / "killed") as killed:
        wait_until(lambda: any((tmp_path / "killed").glob("checkpoints/epoch-0002")), killed)
    # leaving the block kills it with SIGKILL
    assert not (tmp_path / "killed" / "metrics.json").exists()
    again = ("train", "--resume", tmp_path / "killed")
    with running("train", patterns, *settings, "--out", tmp_path / "whole") as whole, running(*again) as resumed:
        for process in (whole, resumed):
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
    one, other = (read_history(tmp_path / name) for name in ("whole", "killed"))
    assert [{**row, "seconds": ""} for row in one] == [{**row, "seconds": ""} for row in other]
    first, second = (keras.models.load_model(tmp_path / name / "model.keras") for name in ("whole", "killed"))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_run_that_ends_while_its_model_is_saved_says_how_to_go_on(tmp_path, monkeypatch):
    """Ctrl-C, or a full disk: all that was learned is there, but only the folder was named."""
    data, run, said = write_patterns(tmp_path / "data", train=6, test=1), tmp_path / "run", []
    config = dataclasses.replace(CONFIG, epochs=2)
    told = f"What was learned until now is kept; --resume {run} (in Python mien.resume) goes on"
    with monkeypatch.context() as patch:
        patch.setattr("mien.training_stages.save_models", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            train(data, config, out=run, say=said.append)
        assert said[-1] == told
        patch.setattr("mien.training_stages.save_models", raising(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            resume(run, say=said.append)
        assert said[-2:] == ["Saving the model of epoch 2", told] or said[-2:] == ["Saving the model of epoch 1", told]
    assert "test" in resume(run).scores


def test_a_run_whose_data_goes_away_keeps_nothing_where_its_model_is_not_saved(tmp_path, monkeypatch, capsys):
    """The demo, ended while it saves: nobody can go on with it, as the faces that it drew are deleted."""
    data, run = write_patterns(tmp_path / "data", train=6, test=1), tmp_path / "run"

    def learn(*_, **__):
        (run / "checkpoints" / "epoch-0001").mkdir(parents=True)
        (run / "history.csv").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("mien.training_stages._learn", learn)
    with pytest.raises(KeyboardInterrupt):
        run_training(data, CONFIG, out=run, resumable=False)
    said = capsys.readouterr().err
    assert "Nothing is kept of what was learned until now, as its data is deleted; begin again" in said
    assert "resume" not in said
    assert not run.exists()


def raising(error):
    """What raises it, whatever it is called with."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.slow
def test_what_a_killed_run_left_half_written_is_gone_after_resuming(interrupted_run, tmp_path):
    shutil.copytree(interrupted_run, tmp_path / "run")
    left = [".model-0123456789ab.keras", ".model-ba9876543210.onnx", "checkpoints/.start-0123456789ab.npz"]
    for name in (*left, ".mine"):
        (tmp_path / "run" / name).write_text("half")
    resume(tmp_path / "run")
    hidden = {path.name for path in (tmp_path / "run").rglob(".*")}
    assert hidden == {".mine"}


def kernels(model):
    """What training learns, without the statistics of batch norm, which are estimated anew."""
    return [np.asarray(weights.numpy()) for weights in model.trainable_variables]


@pytest.fixture(scope="module")
def learned(patterns, result, tmp_path_factory):
    """What training on from `result` gives, nothing of it kept."""
    config = dataclasses.replace(
        CONFIG, epochs=2, init=str(result.folder / "model.keras"), keep="last", precision="float32"
    )
    return config, train(patterns, config, out=tmp_path_factory.mktemp("runs") / "learned", verbose=False)


@pytest.mark.slow
@pytest.mark.parametrize("interrupted", [False, True])
def test_a_share_of_what_training_began_with_stays_in_what_is_saved(patterns, result, learned, tmp_path, interrupted):
    path = shutil.copy(result.folder / "model.keras", tmp_path / "begin.keras")
    config, learned = learned
    shared = dataclasses.replace(config, init=str(path), init_share=0.25)
    kept = train(patterns, shared, out=tmp_path / "run", callbacks=[Interrupt(1)] if interrupted else [])
    path.unlink()  # a run that goes on has what it began with
    kept = resume(tmp_path / "run") if interrupted else kept
    for old, new, found in zip(*map(kernels, (result.model, learned.model, kept.model)), strict=True):
        np.testing.assert_allclose(found, 0.25 * old + 0.75 * new, atol=1e-3)  # sums in another order
    assert np.abs(kernels(result.model)[0] - kernels(learned.model)[0]).max() > 0.01
    statistics = kept.model.non_trainable_variables[0].numpy()
    assert not np.allclose(statistics, learned.model.non_trainable_variables[0].numpy(), atol=1e-5)
    assert kept.history["val_accuracy"] == pytest.approx(learned.history["val_accuracy"], abs=0.03)


@pytest.mark.slow
def test_a_run_that_lost_what_it_began_with_is_not_resumed(patterns, result, tmp_path):
    config = dataclasses.replace(CONFIG, init=str(result.folder / "model.keras"), init_share=0.5)
    train(patterns, config, out=tmp_path / "run", callbacks=[Interrupt(1)])
    start = tmp_path / "run" / "checkpoints" / "start.npz"
    with np.load(start) as arrays:
        np.savez(start, **{**arrays, "0": np.zeros(3, np.float32)})
    with pytest.raises(ModelError, match="holds weights of another network; begin the run anew"):
        resume(tmp_path / "run")
    for content in (b"PK", None):
        start.write_bytes(content) if content else start.unlink()
        with pytest.raises(ModelError, match="holds the weights that the run began with, of which init_share"):
            resume(tmp_path / "run")


@pytest.mark.slow
def test_new_classes_keep_what_they_learned_whole(result, tmp_path):
    data = write_patterns(tmp_path / "data", train=6, test=1)
    for folder in list(data.glob("*/*")):
        folder.rename(folder.with_name(f"my-{folder.name}"))
    config = dataclasses.replace(CONFIG, epochs=1, init=str(result.folder / "model.keras"))
    config = dataclasses.replace(config, validation_fraction=0.0, keep="last", precision="float32")
    learned = train(data, config, out=tmp_path / "all")
    kept = train(data, dataclasses.replace(config, init_share=0.5), out=tmp_path / "run")
    assert "my-sad" in kept.spec.classes
    old, new, found = map(kernels, (result.model, learned.model, kept.model))
    np.testing.assert_allclose(found[0], 0.5 * old[0] + 0.5 * new[0], atol=1e-3)
    np.testing.assert_allclose(found[-1], new[-1], atol=1e-3)
    np.testing.assert_allclose(found[-2], new[-2], atol=1e-3)


def test_a_share_of_nothing_is_refused():
    with pytest.raises(UsageError, match=r"init_share: is a share of init's weights, received 0.5 without init"):
        TrainingConfig(init_share=0.5)


def test_another_network_than_that_of_init_is_refused_before_any_work(tmp_path):
    config = TrainingConfig(network="vgg", init="mien-small")
    with pytest.raises(UsageError, match="init: mien-small holds the network 'compact', not 'vgg'"):
        train(tmp_path / "nothing", config, out=tmp_path / "run")


def test_a_network_of_another_version_is_not_begun_with_though_its_weights_fit(tmp_path):
    faces = keras.Input((48, 48, 1))
    now = mien.network("vgg", seed=0)
    old = keras.models.clone_model(
        now,
        clone_function=lambda layer: (
            keras.layers.MaxPooling2D(2) if isinstance(layer, keras.layers.AveragePooling2D)
            else type(layer).from_config(layer.get_config())
        ),
        input_tensors=faces,
    )  # fmt: skip
    path = tmp_path / "old.keras"
    save_keras(old, describe(old, mien.EXPRESSIONS), path)
    with pytest.raises(UsageError, match="another version of mien had another network of that name"):
        start_from(now, str(path), mien.EXPRESSIONS)
    start_from(old, str(path), mien.EXPRESSIONS)
    start_from(now, str(path), mien.EXPRESSIONS, own=True)  # whoever gives a network of their own knows what it is


def test_where_weights_do_not_fit_a_model_that_was_given_another_model_to_give_is_named(tmp_path):
    own, other = (
        keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Conv2D(width, 9, 9), keras.layers.Flatten(),
                          keras.layers.Dense(7, activation="softmax")], name="own")
        for width in (1, 2)
    )  # fmt: skip
    path = tmp_path / "other.keras"
    save_keras(other, describe(other, mien.EXPRESSIONS), path)
    said = {
        "mien-small": "give mien.fit the network that the file holds: "
        "mien.network('compact', size=48, channels=1, classes=7)",
        str(path): f"give mien.fit a network of the same layers: mien.export.load_model({str(path)!r}) gives that of "
        "the file",
    }
    arrays = np.zeros((7, 48, 48, 1)), np.arange(7)
    for model in (own, mien.network()):
        for init, way in said.items():
            with pytest.raises(UsageError, match=r"init: .* do not fit") as refused:
                fit(model, *arrays, init=init, validation_fraction=0, out=tmp_path / "run")
            assert str(refused.value).endswith(way)
            assert not (tmp_path / "run").exists()


def faces_of_two_brightnesses(n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % 2
    return np.repeat(labels, 256).reshape(n, 16, 16, 1) * 0.5, labels


def test_networks_with_operations_between_their_layers_are_trained(tmp_path):
    faces = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(2, 3, padding="same")(faces / 2)
    x = keras.layers.Flatten()(keras.ops.relu(x) + faces)
    model = keras.Model(faces, keras.layers.Dense(2, activation="softmax")(x))
    x_train, y_train = faces_of_two_brightnesses()
    with pytest.warns(
        UserWarning, match=r"face_detection\.h5 is left out: .*; model\.keras holds the network"
    ) as caught:
        fit(model, x_train, y_train, classes=("dark", "bright"), epochs=1, validation_fraction=0, out=tmp_path / "run")
    assert [warning.filename for warning in caught if "left out" in str(warning.message)] == [__file__]
    assert {path.name for path in (tmp_path / "run").glob("*.[hko]*")} == {"model.onnx", "model.keras"}


def test_networks_whose_layers_cannot_be_made_anew_are_refused_before(tmp_path):
    faces = keras.Input((16, 16, 1))
    x = keras.layers.Flatten()(keras.layers.Lambda(lambda pixels: pixels * 2)(faces))
    model = keras.Model(faces, keras.layers.Dense(7, activation="softmax")(x))
    with pytest.raises(UsageError, match=r"model: its layers cannot be made anew .*Lambda.*write a Lambda with"):
        fit(model, np.zeros((4, 16, 16, 1)), np.arange(4), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fit_says_where_a_model_could_not_be_converted(tmp_path):
    deep = [keras.layers.Reshape((16, 16, 1, 1)), keras.layers.Conv3D(4, (3, 3, 1))]
    grouped = [*deep, keras.layers.Conv3D(4, (3, 3, 1), groups=2), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((16, 16, 1)), *grouped, keras.layers.Dense(2, activation="softmax")])
    x_train, y_train = faces_of_two_brightnesses()
    told = r"model\.onnx is left out: \S+run.model\.onnx: .*; model\.keras holds the network"
    with pytest.warns(UserWarning, match=told) as caught:
        fit(model, x_train, y_train, classes=("dark", "bright"), epochs=1, validation_fraction=0, out=tmp_path / "run")
    assert [warning.filename for warning in caught if "left out" in str(warning.message)] == [__file__]


class Twice(keras.layers.Layer):
    """A layer that makes one for itself, of the precision that is set for all."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.held = keras.layers.Conv2D(4, 3, activation="relu")

    def build(self, shape):
        self.held.build(shape)

    def call(self, images):
        return self.held(images)


class Looking(keras.Model):
    """A network of one's own within another."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.pooled = keras.layers.GlobalAveragePooling2D()

    def call(self, maps):
        return self.pooled(maps)


def test_networks_in_the_precision_that_is_set_for_all_are_brought_to_float32(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        faces = keras.Input((16, 16, 1))
        maps = Twice()(faces)
        model = keras.Model(faces, keras.layers.Dense(2, "softmax")(Looking()(maps)))
        copy = in_float32(model)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(before)
    assert {layer.compute_dtype for layer in copy._flatten_layers()} == {"float32"}
    images = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    answers = (keras.ops.cast(net(images), "float32") for net in (model, copy))
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, answers), atol=0.01)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_networks_in_mixed_precision_are_saved_in_float32(policy, tmp_path):
    layers = [keras.layers.Flatten(), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2, "softmax")]
    for layer in layers:
        layer.dtype_policy = policy
    model = keras.Sequential([keras.Input((16, 16, 1)), keras.Sequential(layers)])
    x_train, y_train = faces_of_two_brightnesses()
    fit(model, x_train, y_train, classes=("dark", "bright"), epochs=1, validation_fraction=0, out=tmp_path / "run")
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1), np.uint8)
    expected = Classifier(tmp_path / "run" / "model.onnx").predict(images)
    for name in ("model.keras", "face_detection.h5"):
        np.testing.assert_allclose(open_model(tmp_path / "run" / name).predict(images), expected, atol=1e-5)


def test_data_of_one_class_is_refused_by_its_name(tmp_path):
    data = write_patterns(tmp_path / "data", train=2, test=1)
    (data / "train" / "happy").rename(tmp_path / "aligned")
    shutil.rmtree(data)
    data.mkdir()
    (tmp_path / "aligned").rename(data / "aligned")
    with pytest.raises(DataError, match="all its images are of one class, 'aligned', so there is nothing to learn"):
        train(data, CONFIG, out=tmp_path / "run")
