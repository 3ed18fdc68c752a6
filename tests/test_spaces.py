"""What `mien tune` may vary, and how it is said."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.config import AUGMENTATIONS, AugmentationPolicy, TrainingConfig
from mien.errors import UsageError
from mien.recipes import RECIPES
from mien.spaces import (
    STRENGTH,
    Choices,
    Span,
    check_space,
    config_with,
    default_space,
    parse_space,
    point_of,
    strengthened,
    tunable,
)

BASE = TrainingConfig()


def test_ranges_and_choices_are_read():
    space = parse_space(
        ["learning_rate=1e-4:0.1:log", "batch_size=16:64", "optimizer=adam,sgd", "augmentation.flip=true,false"], BASE
    )
    assert space == {
        "learning_rate": Span(1e-4, 0.1, log=True),
        "batch_size": Span(16, 64, whole=True),
        "optimizer": Choices(("adam", "sgd")),
        "augmentation.flip": Choices((True, False)),
    }


def test_a_field_of_any_number_is_not_drawn_whole_because_it_holds_a_whole_one():
    assert isinstance(BASE.augmentation.rotation, int)
    space = parse_space(["augmentation.rotation=5:30", "mixup=0:0.4"], dataclasses.replace(BASE, mixup=0))
    assert space == {"augmentation.rotation": Span(5, 30), "mixup": Span(0, 0.4)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate", "must be FIELD=LOW:HIGH"),
        ("=1:2", "must be FIELD=LOW:HIGH"),
        ("learning_rate=1:x", "two numbers; received '1:x'"),
        ("learning_rate=0.1:0.01", "the low end must be below the high end"),
        ("learning_rate=nan:1", "the low end must be below"),
        ("learning_rate=0.1:0.2:ln", "with :log; received '0.1:0.2:ln'"),
        ("weight_decay=0:0.1:log", "must begin above 0"),
        ("learning_rate=0.1:1000", "learning_rate: must be a number from 1e-08 to 100, received 1000"),
        ("mixup=0:2", "mixup: must be a number from 0 to 1"),
        ("batch_size=1.5:8", "takes whole numbers"),
        ("augmentation.rotation=0.5:181", "rotation: must be a number from 0 to 180"),
        ("batch_size=0:8", "batch_size: must be a whole number from 1"),
        ("optimizer=adam,lion", "optimizer: must be one of adam, sgd"),
        ("optimizer=0:1", "is no number; give choices"),
        ("optimizer=adam", "two or more different values"),
        ("optimizer=adam,adam", "two or more different values"),
        ("augmentation=none,wild", "augmentation: no such choice 'wild'"),
        ("augmentation.spin=0:1", "no such choice 'augmentation.spin'; choose from .*augmentation.zoom"),
        ("rate=0:1", "no such choice 'rate'; choose from .*learning_rate"),
        ("seed=0:9", "seed cannot be varied"),
        ("validation=public,holdout", "validation cannot be varied"),
    ],
)
def test_what_cannot_be_varied_is_said(text, message):
    with pytest.raises(UsageError, match=message):
        parse_space([text], BASE)


def test_a_field_is_named_once_and_at_least_one_is():
    with pytest.raises(UsageError, match="mixup is given twice"):
        parse_space(["mixup=0:0.1", "mixup=0:0.2"], BASE)
    with pytest.raises(UsageError, match="nothing to vary"):
        parse_space([], BASE)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_has_a_space_that_it_lies_in(name):
    base = RECIPES[name].config
    space = default_space(base)
    check_space(space, base)
    point = point_of(base, space)
    assert config_with(base, point) == base
    assert point.keys() == space.keys() >= {"learning_rate", "weight_decay", "label_smoothing", "mixup"}
    assert set(space) <= set(tunable())


@given(st.sampled_from(sorted(RECIPES)), st.data())
def test_every_point_of_a_space_is_a_config(name, data):
    base = RECIPES[name].config
    values = {field: data.draw(st.floats(span.low, span.high)) for field, span in default_space(base).items()}
    config = config_with(base, values)
    assert TrainingConfig.from_dict(config.to_dict()) == config
    assert config.learning_rate == values["learning_rate"]
    assert (config.epochs, config.network, config.seed) == (base.epochs, base.network, base.seed)


@given(st.floats(0, 20))
def test_strength_scales_every_amount_up_to_what_is_allowed(factor):
    policy = AUGMENTATIONS["robust"]
    changed = dataclasses.asdict(strengthened(policy, factor))
    for name, amount in dataclasses.asdict(policy).items():
        if isinstance(amount, bool):
            assert changed[name] == amount
        else:
            assert changed[name] == pytest.approx(amount * factor) or changed[name] < amount * factor
    assert strengthened(policy, 1) == policy


def test_parts_of_the_augmentation_go_on_top_of_a_named_one():
    config = config_with(BASE, {"augmentation": "standard", STRENGTH: 2.0, "augmentation.erase": 0.1})
    assert config.augmentation.rotation == 2 * AUGMENTATIONS["standard"].rotation
    assert config.augmentation.erase == 0.1
    assert config_with(BASE, {"augmentation": "none"}).augmentation == AugmentationPolicy()


def test_a_point_leaves_out_what_the_space_does_not_hold():
    assert point_of(BASE, {"mixup": Span(0.1, 0.4), "epochs": Span(1, 50, whole=True)}) == {"epochs": 30}
    assert point_of(BASE, {"augmentation": Choices(("none", "seed"))}) == {"augmentation": "seed"}


@pytest.mark.parametrize("text", ["epochs=2", "learning_rate=0.1:0.01", "learning_rate=0:1:log"])
def test_a_wrong_amount_is_named_with_its_field(text):
    with pytest.raises(UsageError, match=f"^--space {text}: "):
        parse_space([text], TrainingConfig())
