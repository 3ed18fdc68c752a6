"""Chance faces: people, poses, light and the strength of an expression, drawn from one random generator."""

from __future__ import annotations

import numpy as np

from mien.datasets.face_model import (
    PROTOTYPES,
    VARIANTS,
    Camera,
    FaceParameters,
    Identity,
    Lighting,
    Pose,
)
from mien.errors import unknown_choice

_STRAY_UNITS = (1, 2, 4, 7, 12, 15, 17, 25, 43)
"""Units that may be faintly at work in any face, whatever its expression."""

_STRAY_SHARE, _WEAK_SHARE = 0.05, 0.03


def random_parameters(expression: str, rng: np.random.Generator) -> FaceParameters:
    """A chance face that shows an expression.

    The person, the pose and the picture are drawn before the expression: generators of one seed give the same person in
    every expression.

    Args:
        expression: one of `mien.labels.EXPRESSIONS`.
        rng: where chance comes from.

    Raises:
        UsageError: there is no such expression.
    """
    if expression not in PROTOTYPES:
        raise unknown_choice("expression", expression, PROTOTYPES)
    identity = random_identity(rng)
    pose, lighting, camera = random_pose(rng), random_lighting(rng, identity.skin), random_camera(rng)
    return FaceParameters(identity, pose, lighting, camera, random_actions(expression, rng))


def _normal(rng: np.random.Generator, mean: float, spread: float, low: float, high: float) -> float:
    return min(max(mean + spread * rng.standard_normal(), low), high)


def _scale(rng: np.random.Generator, spread: float = 0.07) -> float:
    """A measure around the average's, at most 2.5 spreads from it."""
    return _normal(rng, 1.0, spread, 1.0 - 2.5 * spread, 1.0 + 2.5 * spread)


def random_identity(rng: np.random.Generator) -> Identity:
    """A chance adult."""
    feminine, age = bool(rng.random() < 0.5), float(rng.beta(1.4, 2.0))
    skin = float(rng.beta(0.9, 1.1))
    style = _hair_style(rng, feminine, age)
    bearded = not feminine and rng.random() < 0.3
    return Identity(
        face_width=_scale(rng, 0.05),
        jaw=float(rng.beta(2, 3) if feminine else rng.beta(3, 2)),
        chin_length=_scale(rng, 0.05),
        eye_size=_scale(rng) * (1.05 if feminine else 0.97),
        eye_spacing=_scale(rng, 0.03),
        lid_tilt=_normal(rng, 0.012, 0.014, -0.03, 0.05),
        brow_height=_normal(rng, 0.01 if feminine else -0.01, 0.018, -0.05, 0.06),
        brow_thickness=_scale(rng, 0.12) * (0.8 if feminine else 1.1),
        brow_arch=_scale(rng, 0.2),
        brow_strength=_normal(rng, 0.78, 0.1, 0.5, 1.0),
        nose_length=_scale(rng, 0.05),
        nose_width=_scale(rng, 0.09) * (1.0 + 0.15 * skin),
        nose_height=_scale(rng, 0.12),
        mouth_width=_scale(rng, 0.06),
        lip_fullness=_scale(rng, 0.12) * (1.0 + 0.25 * skin),
        mouth_rest=_normal(rng, 0.0, 0.012, -0.03, 0.03),
        cheekbones=_scale(rng, 0.2),
        skin=skin,
        hair=min(max(rng.random() * (1.1 - 1.2 * skin), 0.0), 1.0),
        grey=min(max((age - 0.45) * 2.2 * rng.random(), 0.0), 1.0),
        hair_style=style,
        hair_volume=_normal(rng, 0.13 if style in {"curly", "long"} else 0.08, 0.025, 0.03, 0.2),
        hairline=_normal(rng, 0.0 if feminine else 0.04 + 0.1 * age, 0.04, -0.06, 0.25),
        age=age,
        beard=float(rng.uniform(0.3, 0.8)) if bearded else 0.0,
        moustache=float(rng.uniform(0.3, 0.85)) if bearded or (not feminine and rng.random() < 0.08) else 0.0,
        make_up=float(rng.random()) if feminine else 0.0,
        glasses=_pick(rng, {"none": 0.88, "round": 0.06, "square": 0.06}),
        texture=int(rng.integers(2**62)),
    )


def _hair_style(rng: np.random.Generator, feminine: bool, age: float) -> str:
    if feminine:
        return _pick(rng, {"long": 0.5, "fringe": 0.2, "curly": 0.15, "short": 0.15})
    bald = 0.05 + 0.2 * age
    return _pick(rng, {"bald": bald, "short": 0.78 - bald, "curly": 0.12, "fringe": 0.06, "long": 0.04})


def _pick(rng: np.random.Generator, shares: dict[str, float]) -> str:
    """One of the names, each as often as its share of the sum says."""
    left = rng.random() * sum(shares.values())
    for name, share in shares.items():
        left -= share
        if left < 0.0:
            return name
    return next(iter(shares))


def random_pose(rng: np.random.Generator) -> Pose:
    """Mostly frontal."""
    return Pose(
        yaw=_normal(rng, 0.0, 8.0, -28.0, 28.0),
        pitch=_normal(rng, 0.0, 3.5, -12.0, 12.0),
        roll=_normal(rng, 0.0, 3.5, -14.0, 14.0),
        gaze_x=_normal(rng, 0.0, 0.3, -0.8, 0.8),
        gaze_y=_normal(rng, 0.0, 0.2, -0.5, 0.5),
        asymmetry=_normal(rng, 0.0, 0.08, -0.25, 0.25),
    )


def random_lighting(rng: np.random.Generator, skin: float) -> Lighting:
    """From any side in front, exposed for the skin as a camera would."""
    return Lighting(
        azimuth=_normal(rng, 0.0, 30.0, -75.0, 75.0),
        elevation=_normal(rng, 30.0, 15.0, -15.0, 70.0),
        ambient=float(rng.uniform(0.4, 0.7)),
        strength=float(rng.uniform(0.8, 1.15)) * (1.0 + 0.85 * skin),
        warmth=_normal(rng, 0.1, 0.4, -1.0, 1.0),
    )


def random_camera(rng: np.random.Generator) -> Camera:
    """Framed about as FER2013's faces are, with a detector's jitter."""
    return Camera(
        frame=_normal(rng, 1.86, 0.06, 1.7, 2.1),
        shift_x=_normal(rng, 0.0, 0.03, -0.1, 0.1),
        shift_y=_normal(rng, -0.13, 0.03, -0.22, -0.04),
        blur=0.011 * float(rng.beta(1.0, 2.0)),
        noise=float(rng.uniform(0.5, 4.0)),
        backdrop=float(rng.uniform(0.08, 0.9)),
        clutter=float(rng.uniform(0.0, 0.9)),
        texture=int(rng.integers(2**62)),
    )


def random_actions(expression: str, rng: np.random.Generator) -> dict[int, float]:
    """The units of an expression at a chance strength, with chance variants and faint stray units.

    A few faces (about one in thirty) show their expression so faintly that it can be mistaken for another.
    """
    strength = 1.0 - abs(_normal(rng, 0.0, 0.13, -0.4, 0.4))
    if rng.random() < _WEAK_SHARE:
        strength = float(rng.uniform(0.15, 0.4))
    actions = {unit: strength * float(rng.uniform(0.8, 1.15)) for unit in PROTOTYPES[expression]}
    for unit, share in VARIANTS[expression].items():
        if rng.random() < share:
            actions[unit] = max(actions.get(unit, 0.0), strength * float(rng.uniform(0.4, 1.0)))
    for unit in _STRAY_UNITS:
        if rng.random() < _STRAY_SHARE:
            actions[unit] = max(actions.get(unit, 0.0), float(rng.uniform(0.1, 0.3)))
    return {unit: min(intensity, 1.0) for unit, intensity in actions.items()}
