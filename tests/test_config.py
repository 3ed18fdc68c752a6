import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.config import AUGMENTATIONS, AugmentationPolicy, TrainingConfig
from mien.errors import UsageError
from mien.preprocessing import InputSpec
from mien.recipes import RECIPES, recipe


@given(
    epochs=st.integers(1, 1000),
    rate=st.floats(1e-6, 1),
    size=st.integers(16, 224),
    augmentation=st.sampled_from(sorted(AUGMENTATIONS)),
    weights=st.booleans(),
)
def test_a_config_survives_json(epochs, rate, size, augmentation, weights):
    config = TrainingConfig(
        epochs=epochs,
        learning_rate=rate,
        input=InputSpec(size, 3),
        augmentation=AUGMENTATIONS[augmentation],
        class_weights=weights,
    )
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_keys_are_named_with_the_known():
    with pytest.raises(UsageError, match=r"unknown key epoch \(did you mean epochs\?\); known are .*epochs"):
        TrainingConfig.from_dict({"epoch": 3})
    with pytest.raises(UsageError, match=r"unknown key size \(here input=mien.InputSpec\(size, channels\)\); known"):
        TrainingConfig.from_dict({"size": 64})
    with pytest.raises(UsageError, match="augmentation: unknown key spin"):
        TrainingConfig.from_dict({"augmentation": {"spin": 3}})
    with pytest.raises(UsageError, match=r"unknown key validation_split \(here validation_fraction\); known are"):
        TrainingConfig.from_dict({"validation_split": 0.2})
    with pytest.raises(UsageError, match=r"unknown key rotation_range \(here rotation\), spin; known are"):
        TrainingConfig.from_dict({"augmentation": {"rotation_range": 20, "spin": 3}})


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("optimizer", "must be one of adam, sgd, received .*; name it, with learning_rate and weight_decay beside it"),
        ("learning_rate", "must be a number .*; schedule='cosine' or .*LearningRateScheduler with schedule='constant'"),
        ("augmentation", "must be an AugmentationPolicy.*; ImageDataGenerator.* Keras layers go to the front of the"),
        ("precision", "must be one of auto, .*, received <object object at 0x[0-9a-f]+>$"),
    ],
)
def test_objects_of_keras_are_said_in_words(field, message):
    with pytest.raises(UsageError, match=f"^{field}: {message}"):
        TrainingConfig.from_dict({field: object()})
    with pytest.raises(UsageError, match=r"received 'lion'$"):
        TrainingConfig(optimizer="lion")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("batch_size", 0),
        ("seed", -1),
        ("learning_rate", float("nan")),
        ("label_smoothing", 1.0),
        ("validation_fraction", 0.6),
        ("optimizer", "lion"),
        ("schedule", "one-cycle"),
        ("precision", "float8"),
        ("keep", "first"),
        ("epochs", "many"),
        ("class_weights", "no"),
        ("class_weights", 1),
        ("deterministic", "False"),
        ("input", 48),
    ],
)
def test_values_out_of_range_cannot_be_built(field, value):
    with pytest.raises(UsageError, match=f"{field}: must be"):
        TrainingConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("rotation", -1), ("zoom", 1.0), ("erase", 1.5), ("shift", "far"), ("flip", "false"), ("zoom_together", 0)],
)
def test_policies_out_of_range_cannot_be_built(field, value):
    with pytest.raises(UsageError, match=f"{field}: must be"):
        AugmentationPolicy(**{field: value})


def test_recipes_change_single_fields_and_refuse_others():
    assert recipe("seed") == TrainingConfig()
    assert recipe("seed", epochs=3) == TrainingConfig(epochs=3)
    with pytest.raises(UsageError, match="choose from cpu, demo, distilled, large, light, seed, small, speedrun, vgg"):
        recipe("sota")
    with pytest.raises(UsageError, match="unknown key speed"):
        recipe("seed", speed=3)


@pytest.mark.parametrize(("given", "sizes"), [("", ()), ([], ()), (48, (48,)), ([32, 48], (32, 48))])
def test_lists_are_taken_as_the_command_line_has_them(given, sizes):
    config = TrainingConfig.from_dict({"network": "slim", "progressive": given, "teachers": ""})
    assert (config.progressive, config.teachers) == (sizes, ())


def test_numpys_numbers_are_numbers():
    config = TrainingConfig(epochs=np.int64(3), learning_rate=np.float64(0.5), class_weights=np.bool_(True))
    assert json.loads(json.dumps(config.to_dict()))["epochs"] == 3
    assert config == TrainingConfig(epochs=3, learning_rate=0.5, class_weights=True)
    with pytest.raises(UsageError, match=r"epochs: must be a whole number from 1 to 100000, received 1\.5"):
        TrainingConfig(epochs=np.float32(1.5))


def test_every_recipe_tells_its_story():
    for entry in RECIPES.values():
        assert entry.summary
        assert entry.measured


def test_a_policy_may_be_named():
    assert TrainingConfig.from_dict({"augmentation": "robust"}).augmentation == AUGMENTATIONS["robust"]
    policy = TrainingConfig.from_dict({"augmentation.shift": 0.3, "augmentation": "none"}).augmentation
    assert policy == AugmentationPolicy(shift=0.3)
    assert TrainingConfig.from_dict({"augmentation.zoom": 0}).augmentation == replace(AUGMENTATIONS["seed"], zoom=0)
    with pytest.raises(UsageError, match=r"augmentation: must be an AugmentationPolicy.*received 5"):
        TrainingConfig.from_dict({"augmentation": 5, "augmentation.zoom": 0})
    with pytest.raises(UsageError, match=r"augmentation: must be .* a name \(none, seed, .*received False"):
        TrainingConfig.from_dict({"augmentation": False})
    with pytest.raises(UsageError, match="augmentation: no such choice 'strong'"):
        TrainingConfig.from_dict({"augmentation": "strong"})
    with pytest.raises(UsageError, match="augmentation: must be an AugmentationPolicy, such as"):
        TrainingConfig(augmentation="robust")
