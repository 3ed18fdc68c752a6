from dataclasses import replace

import numpy as np
import pytest

from mien.datasets.face_drawing import draw_head, draw_picture
from mien.datasets.face_model import (
    GLASSES,
    HAIR_STYLES,
    Camera,
    FaceParameters,
    Identity,
    Lighting,
    Pose,
    prototype,
)
from mien.datasets.face_projection import light_direction
from mien.datasets.face_surface import make_sheet, skull
from mien.errors import UsageError
from mien.labels import EXPRESSIONS

WIDE = Camera(frame=3.0)


def head(size=64, **parts):
    return draw_head(FaceParameters(camera=WIDE, **parts), size=size).astype(float)


def centre_of(alpha):
    return (alpha * np.arange(alpha.shape[1])).sum() / alpha.sum()


def test_a_head_comes_with_alpha_on_nothing():
    image = head()
    assert image.shape == (64, 64, 4)
    assert image[32, 32, 3] == 255
    assert image[0, 0, 3] == image[0, -1, 3] == 0
    assert 0 < (image[:, :, 3] % 255 > 0).mean() < 0.2  # smooth edges, and no more than edges


@pytest.mark.parametrize("style", HAIR_STYLES)
@pytest.mark.parametrize("glasses", GLASSES)
def test_every_style_can_be_drawn_in_any_pose(style, glasses):
    identity = Identity(hair_style=style, glasses=glasses, beard=0.5, moustache=0.5, age=1.0, make_up=1.0)
    for yaw, pitch in ((-45.0, -30.0), (0.0, 0.0), (45.0, 30.0)):
        image = head(48, identity=identity, pose=Pose(yaw=yaw, pitch=pitch), actions=prototype("disgust"))
        assert image[24, 24, 3] == 255


def test_a_frontal_head_is_symmetric():
    image = head(64, identity=Identity(hair_style="bald"), lighting=Lighting(azimuth=0.0))
    assert np.abs(image[:, :, 3] - image[:, ::-1, 3]).max() <= 24
    assert np.abs(image[:, :, :3] - image[:, ::-1, :3]).mean() < 4


def test_light_comes_from_where_it_is_said_to():
    left, right = (head(64, lighting=Lighting(azimuth=azimuth, ambient=0.2)) for azimuth in (-60.0, 60.0))
    for image, brighter, darker in ((left, slice(18, 28), slice(36, 46)), (right, slice(36, 46), slice(18, 28))):
        assert image[30:45, brighter, 1].mean() > image[30:45, darker, 1].mean() + 15


@pytest.mark.parametrize("pose", [Pose(), Pose(yaw=30.0), Pose(pitch=20.0), Pose(yaw=-20.0, pitch=10.0, roll=40.0)])
def test_the_lamp_turns_against_the_head(pose):
    lighting = Lighting(azimuth=30.0, elevation=20.0)
    assert np.linalg.norm(light_direction(lighting, pose)) == pytest.approx(1.0)


def test_facing_the_lamp_puts_it_straight_ahead():
    lighting, pose = Lighting(azimuth=25.0, elevation=0.0), Pose(yaw=25.0)
    assert light_direction(lighting, pose) == pytest.approx([0.0, 0.0, 1.0], abs=1e-9)


def test_roll_turns_the_picture():
    upright, turned = (head(64, identity=Identity(hair_style="bald"), pose=Pose(roll=roll)) for roll in (0.0, 180.0))
    assert np.abs(upright[::-1, ::-1, 3] - turned[:, :, 3]).mean() < 2


def test_shift_moves_the_head():
    moved = draw_head(FaceParameters(camera=replace(WIDE, shift_x=0.5)), size=64).astype(float)
    assert centre_of(moved[:32, :, 3]) - centre_of(head()[:32, :, 3]) == pytest.approx(0.5 / 3.0 * 64, abs=0.5)


def test_expressions_look_different():
    pictures = [head(64, actions=prototype(expression))[:, :, :3] for expression in EXPRESSIONS]
    for i, first in enumerate(pictures):
        for second in pictures[i + 1 :]:
            assert np.abs(first - second).mean() > 1.0


def test_a_small_movement_changes_the_picture_a_little():
    before, after = (head(96, actions={12: intensity}) for intensity in (0.50, 0.52))
    assert 0 < np.abs(before - after).mean() < 0.5


def test_grey_is_the_luma_of_colour():
    parameters = FaceParameters(lighting=Lighting(warmth=0.0))
    grey, colour = draw_picture(parameters, size=64).astype(float), draw_picture(parameters, size=64, channels=3)
    difference = np.abs(colour @ [0.299, 0.587, 0.114] - grey)
    assert difference.mean() < 1
    assert difference.max() < 12  # where a channel is burnt out


def test_a_larger_picture_shows_the_same_face():
    small, large = (draw_picture(FaceParameters(), size=size).astype(float) for size in (48, 192))
    shrunk = large.reshape(48, 4, 48, 4).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 4


def test_noise_and_blur_do_what_they_say():
    clean = draw_picture(FaceParameters(camera=Camera(noise=0.0)), size=64).astype(float)
    noisy = draw_picture(FaceParameters(camera=Camera(noise=10.0)), size=64).astype(float)
    blurred = draw_picture(FaceParameters(camera=Camera(blur=0.03)), size=64).astype(float)
    assert (noisy - clean)[clean < 220].std() == pytest.approx(10.0, abs=1.5)
    assert np.abs(np.diff(blurred)).mean() < 0.8 * np.abs(np.diff(clean)).mean()


@pytest.mark.parametrize(("size", "channels", "message"), [(15, 1, "size"), (1025, 1, "size"), (48, 4, "channels")])
def test_what_cannot_be_drawn_is_refused(size, channels, message):
    with pytest.raises(UsageError, match=message):
        draw_picture(FaceParameters(), size=size, channels=channels)


def test_bumps_are_gaussians_where_they_are_put():
    sheet = make_sheet(30.0)
    plane = sheet.bumps(np.array([[0.3, -0.2, 0.1, 0.2, 0.5]]))
    row, column = np.unravel_index(plane.argmax(), plane.shape)
    assert sheet.us[column] == pytest.approx(0.3, abs=0.02)
    assert sheet.vs[row] == pytest.approx(-0.2, abs=0.02)
    assert plane.max() == pytest.approx(0.5, abs=0.01)
    expected = 0.5 * np.exp(-0.5 * (((sheet.us - 0.3) / 0.1) ** 2 + ((sheet.vs[:, None] + 0.2) / 0.2) ** 2))
    assert np.abs(plane - expected).max() < 1e-5


def test_a_skull_is_closed_at_crown_and_chin():
    profile = skull(Identity(), chin=1.0)
    levels = profile.levels()
    assert (profile.width[(levels < profile.crown) | (levels > 1.0)] == 0).all()
    assert profile.width.max() == pytest.approx(0.715, abs=0.01)
