"""What `mien train` and `mien tune` make of their options: the config that they hand on; nothing is trained."""

import dataclasses
import json
import signal
from pathlib import Path

import keras
import pytest

from mien.cli import main
from mien.config import AUGMENTATIONS, AugmentationPolicy, TrainingConfig
from mien.errors import MienError
from mien.export import describe, save_keras
from mien.networks import network

CLASSES = tuple("abcdefg")


@pytest.fixture
def handed_on(monkeypatch, tmp_path):
    """Gives what runs the command in a folder of its own, and tells the config that training or tuning is given."""
    configs: list[TrainingConfig] = []

    def stand_in(data, config, **options):
        configs.append(config)
        raise MienError("far enough")

    monkeypatch.setattr("mien.training.train", stand_in)
    monkeypatch.setattr("mien.tuning.tune", stand_in)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()

    def ask(*arguments: str) -> TrainingConfig:
        with pytest.raises(SystemExit):
            main([arguments[0], "faces", *arguments[1:]])
        return configs.pop()

    return ask


@pytest.fixture
def trained(tmp_path) -> Path:
    model = network("small", seed=1)
    save_keras(model, describe(model, CLASSES), tmp_path / "trained.keras")
    return tmp_path / "trained.keras"


@pytest.mark.parametrize(
    "begin",
    [
        ("train", "--init", "trained.keras"),
        ("train", "--set", "init=trained.keras"),
        ("tune", "--set", "init=trained.keras"),
    ],
)
def test_the_network_is_that_of_the_model_that_training_begins_with_unless_one_is_named(begin, handed_on, trained):
    config = handed_on(*begin)
    assert config.network == "small"
    assert Path(config.init).resolve() == trained.resolve()
    assert config.epochs == 30  # all else is the recipe's
    assert handed_on(*begin, "--set", "network=vgg").network == "vgg"
    if begin[0] == "train":
        assert Path(config.init).is_absolute()  # a run goes on from anywhere
        assert handed_on(*begin, "--network", "vgg").network == "vgg"
    (trained.parent / "c.json").write_text(json.dumps({"network": "large"}))
    assert handed_on(*begin, "--config", "c.json").network == "large"


def test_a_network_that_is_none_of_miens_leaves_the_recipes(handed_on, tmp_path):
    faces = keras.Input((48, 48, 1))
    probabilities = keras.layers.Dense(7, activation="softmax")(keras.layers.Flatten()(faces))
    model = keras.Model(faces, probabilities, name="mine")
    save_keras(model, describe(model, CLASSES), tmp_path / "mine.keras")
    assert handed_on("train", "--set", "init=mine.keras").network == "seed"


@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_model_that_is_not_there_to_begin_with_is_one_line(command, capfd):
    with pytest.raises(SystemExit) as end:
        main([command, "faces", "--set", "init=none.keras"])
    assert end.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("mien: ")
    assert "none.keras: no such file" in line


def test_single_amounts_of_the_augmentation_can_be_set(handed_on, tmp_path):
    config = handed_on("train", "--recipe", "cpu", "--set", "augmentation.degrade=0.3", "--set", "augmentation.erase=0")
    assert config.augmentation == dataclasses.replace(AUGMENTATIONS["standard"], degrade=0.3, erase=0)
    config = handed_on("tune", "--recipe", "seed", "--set", "augmentation.flip=false")
    assert config.augmentation == dataclasses.replace(AUGMENTATIONS["seed"], flip=False)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.to_dict()))
    config = handed_on("train", "--config", str(file), "--set", "augmentation.shift=0.2")
    assert config.augmentation == dataclasses.replace(AUGMENTATIONS["seed"], flip=False, shift=0.2)
    alone = ("--augmentation", "none", "--set", "augmentation.shift=0.1")
    config = handed_on("train", "--recipe", "small", "--teacher", "mien-small", *alone)  # whose views must be varied
    assert config.augmentation == AugmentationPolicy(shift=0.1)


def test_every_field_can_be_set_and_options_alone_change_a_file(handed_on, tmp_path):
    config = handed_on("train", "--set", "seed=4", "--set", "precision=float32", "--set", "deterministic=true")
    assert (config.seed, config.precision, config.deterministic) == (4, "float32", True)
    file = tmp_path / "config.json"
    there = TrainingConfig.from_dict({"input": {"size": 64, "channels": 3}, "early_stopping": 5, "seed": 9})
    file.write_text(json.dumps(there.to_dict()))
    assert handed_on("train", "--config", str(file)) == there
    config = handed_on("train", "--config", str(file), "--early-stopping", "0", "--seed", "0", "--size", "48")
    assert (config.early_stopping, config.seed, config.input.size, config.input.channels) == (0, 0, 48, 3)
    assert handed_on("train", "--recipe", "seed", "--channels", "3").input.shape == (48, 48, 3)
    for command in ("train", "tune"):
        assert handed_on(command, "--set", "size=64", "--set", 'input={"channels": 3}').input.shape == (64, 64, 3)
    config = handed_on("train", "--config", str(file), "--set", "channels=1")
    assert config.input.shape == (64, 64, 1)


@pytest.mark.parametrize("name", ["seed", "size"])
def test_settings_that_are_options_too_are_given_once(name, capsys):
    with pytest.raises(SystemExit):
        main(["train", "faces", f"--{name}", "32", "--set", f"{name}=48"])
    assert f"--set: {name} is given twice" in capsys.readouterr().err


@pytest.mark.parametrize("amount", ["augmentation.blur=1", "augmentation.degrade=2"])
def test_amounts_that_there_are_not_are_refused(capsys, amount):
    with pytest.raises(SystemExit):
        main(["train", "faces", "--set", amount])
    said = capsys.readouterr().err
    assert "no such choice" in said or "must be a number from 0 to 1, received 2" in said


@pytest.mark.parametrize("command", ["train", "tune"])
def test_models_are_found_from_any_folder_and_bundled_ones_keep_their_name(command, handed_on, trained):
    config = handed_on(command, "--set", 'teachers=["trained.keras", "mien-small"]', "--set", "init=mien-small")
    assert config.teachers == (str(trained.resolve()), "mien-small")
    assert config.init == "mien-small"
    (trained.parent / "c.json").write_text(json.dumps({"init": "trained.keras", "network": "small"}))
    assert handed_on(command, "--config", "c.json").init == str(trained.resolve())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "faces", "--set", "mixup=lots"), "mixup: must be a number from 0 to 1, received 'lots'"),
        (
            ("train", "faces", "--set", "input=5"),
            "input: has a size and channels; give size=48 or channels=3, received 5",
        ),
        (
            ("train", "faces", "--set", "augmentation=3"),
            "augmentation: must be a name (none, seed, standard, wide, robust), received 3",
        ),
        (("train", "faces", "--set", "recipe=cpu"), "--set: recipe has an option of its own; give --recipe cpu"),
        (("train", "faces", "--set", "skip_bad=true"), "--set: skip_bad has an option of its own; give --skip-bad"),
        (("train", "faces", "--set", "teacher=a b.onnx"), "of its own; give --teacher 'a b.onnx'"),
        (("tune", "faces", "--set", "trials=3"), "--set: trials has an option of its own; give --trials 3"),
        (("tune", "faces", "--set", "batch-size=3"), "unknown key batch-size (did you mean batch_size?)"),
        (("train", "faces", "--set", "class_weights=no"), "class_weights: must be true or false, received 'no'"),
        (("train", "faces", "--out", "used"), "used: already there"),
        (("train", "nowhere"), "no such file or folder: nowhere"),
        (("train", "--resume", "nowhere"), "nowhere: not a run folder"),
        (("train", "--resume", "run"), "run: its data is no longer at gone; put it back"),
        (("tune", "nowhere"), "no such file or folder: nowhere"),
        (("tune", "faces", "--trials", "0"), "Invalid value for '--trials'"),
    ],
)
def test_what_is_wrong_from_the_start_is_said_before_keras_is_loaded(arguments, message, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("mien.cli.train.load_keras", lambda what: pytest.fail("too late"))
    monkeypatch.setattr("mien.cli.tune.load_keras", lambda what: pytest.fail("too late"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    for name, text in (("used/notes.txt", ""), ("run/config.json", '{"data": {"path": "gone"}}')):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "tune", "export"])
def test_sigterm_ends_the_work_as_ctrl_c_does(command, monkeypatch, tmp_path, capsys):
    def works(*_, **__):
        signal.raise_signal(signal.SIGTERM)

    for function in ("mien.training.train", "mien.tuning.tune", "mien.export.export_model"):
        monkeypatch.setattr(function, works)
    options = {"export": ["--format", "onnx"]}.get(command, [])
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # which would have ended the tests
    try:
        with pytest.raises(SystemExit) as end:
            main([command, str(tmp_path), *options, "--out", str(tmp_path / "run")])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == 130
    assert "mien: interrupted" in capsys.readouterr().err
