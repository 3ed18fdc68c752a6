import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.datasets.face_model import (
    ACTION_UNITS,
    PROTOTYPES,
    VARIANTS,
    Camera,
    FaceParameters,
    Identity,
    Lighting,
    Pose,
    prototype,
)
from mien.datasets.face_sampling import random_parameters
from mien.datasets.face_shape import face_shape
from mien.errors import UsageError
from mien.labels import EXPRESSIONS


def shape_of(actions, **others):
    return face_shape(FaceParameters(actions=actions, **others))


def test_there_is_a_prototype_for_every_expression_of_units_that_can_be_drawn():
    assert tuple(PROTOTYPES) == EXPRESSIONS
    assert set(VARIANTS) == set(EXPRESSIONS)
    for expression in EXPRESSIONS:
        assert set(PROTOTYPES[expression]) | set(VARIANTS[expression]) <= set(ACTION_UNITS)


def test_prototype_gives_all_units_one_intensity():
    assert prototype("happy", 0.5) == {6: 0.5, 12: 0.5}
    assert prototype("neutral") == {}
    with pytest.raises(UsageError, match="expression"):
        prototype("smug")


def test_lip_corners_rise_with_unit_12_and_sink_with_unit_15():
    rest, smile, frown = (shape_of(actions).mouth_corners for actions in ({}, {12: 1.0}, {15: 1.0}))
    assert (smile[:, 1] < rest[:, 1] - 0.05).all()
    assert (frown[:, 1] > rest[:, 1] + 0.05).all()
    assert np.ptp(smile[:, 0]) > np.ptp(rest[:, 0])


def test_brows_move_as_their_units_say():
    rest = shape_of({}).brows[:, :, 1]
    inner, outer, lowered = (shape_of({unit: 1.0}).brows[:, :, 1] for unit in (1, 2, 4))
    assert (inner[:, 0] < rest[:, 0] - 0.1).all()
    assert np.allclose(inner[:, -1], rest[:, -1])
    assert (outer[:, -1] < rest[:, -1] - 0.05).all()
    assert (lowered > rest).all()


def test_lids_open_with_unit_5_and_close_with_6_7_and_43():
    rest = shape_of({}).eye_openings
    assert (shape_of({5: 1.0}).eye_openings > rest + 0.03).all()
    for unit in (6, 7):
        assert (shape_of({unit: 1.0}).eye_openings < rest - 0.02).all()
    assert np.allclose(shape_of({43: 1.0}).eye_openings, 0.0)


def test_the_jaw_drops_with_unit_26_and_stretches_with_20():
    rest, dropped = shape_of({}), shape_of({26: 1.0})
    assert rest.mouth_gap == 0.0
    assert dropped.mouth_gap > 0.1
    assert dropped.chin > rest.chin
    assert np.ptp(shape_of({20: 1.0}).mouth_corners[:, 0]) > np.ptp(rest.mouth_corners[:, 0])


def test_asymmetry_moves_the_persons_left_more():
    corners = shape_of({12: 0.6}, pose=Pose(asymmetry=0.4)).mouth_corners
    assert corners[1, 1] < corners[0, 1]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(ACTION_UNITS)), st.floats(0, 1)), st.floats(-0.5, 0.5))
def test_lids_and_lips_never_cross(actions, asymmetry):
    shape = shape_of(actions, pose=Pose(asymmetry=asymmetry))
    assert (shape.lower_lids[..., 1] >= shape.upper_lids[..., 1] - 1e-9).all()
    for above, below in (
        (shape.outer_upper, shape.inner_upper),
        (shape.inner_upper, shape.inner_lower),
        (shape.inner_lower, shape.outer_lower),
    ):
        assert (below[:, 1] >= above[:, 1] - 1e-9).all()
    assert shape.outer_lower[:, 1].max() < shape.chin


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(EXPRESSIONS), st.integers(0, 2**32))
def test_chance_faces_are_valid_and_repeat(expression, seed):
    first, second = (random_parameters(expression, np.random.default_rng(seed)) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)


def test_one_generator_gives_one_person_in_every_expression():
    people = {random_parameters(expression, np.random.default_rng(6)).identity for expression in EXPRESSIONS}
    assert len(people) == 1


def test_chance_faces_show_their_expression():
    rng = np.random.default_rng(0)
    corners = {
        expression: np.mean([face_shape(random_parameters(expression, rng)).mouth_corners[:, 1] for _ in range(40)])
        for expression in ("happy", "neutral", "sad")
    }
    assert corners["happy"] + 0.05 < corners["neutral"] < corners["sad"] - 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Identity(jaw=1.5), r"Identity.jaw: must be from 0 to 1, received 1.5"),
        (lambda: Identity(face_width=float("nan")), "Identity.face_width"),
        (lambda: Identity(hair_style="mohawk"), "Identity.hair_style.*bald, curly"),
        (lambda: Identity(glasses="monocle"), "Identity.glasses"),
        (lambda: Pose(yaw=90.0), "Pose.yaw: must be from -45 to 45"),
        (lambda: Lighting(strength=0.0), "Lighting.strength"),
        (lambda: Camera(frame=0.5), "Camera.frame"),
        (lambda: FaceParameters(actions={3: 1.0}), "actions: unit must be one of 1, 2, 4"),
        (lambda: FaceParameters(actions={12: 1.2}), r"actions\[12\]: intensity must be from 0 to 1, received 1.2"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_parameters_cannot_be_changed():
    actions = {12: 0.5}
    parameters = FaceParameters(actions=actions)
    actions[12] = 1.0
    assert parameters.actions[12] == 0.5
    with pytest.raises(TypeError):
        parameters.actions[12] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        parameters.pose = Pose()
