"""What a drawn face is: who it is, how it is held, lit and filmed, and which of its muscles are at work.

Expressions are combinations of the Facial Action Coding System's action units, as its authors' prototypes have them:

- P. Ekman, W. V. Friesen (1978): *Facial Action Coding System*. Consulting Psychologists Press.
- P. Ekman, W. V. Friesen, J. C. Hager (2002): *Facial Action Coding System: The Manual* and *Investigator's Guide*
  (table 10-2 of the guide: prototypes and variants of the basic emotions). A Human Face, Salt Lake City.
- W. V. Friesen, P. Ekman (1983): *EMFACS-7: Emotional Facial Action Coding System*. Unpublished manual.

Lengths are in *head units*: half the height of a head, the distance from the eyes to the chin. Angles are in degrees.
"Left" is the person's left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mien.errors import UsageError, unknown_choice

ACTION_UNITS: Mapping[int, str] = MappingProxyType(
    {
        1: "inner brow raiser",
        2: "outer brow raiser",
        4: "brow lowerer",
        5: "upper lid raiser",
        6: "cheek raiser",
        7: "lid tightener",
        9: "nose wrinkler",
        10: "upper lip raiser",
        12: "lip corner puller",
        15: "lip corner depressor",
        16: "lower lip depressor",
        17: "chin raiser",
        20: "lip stretcher",
        23: "lip tightener",
        24: "lip pressor",
        25: "lips part",
        26: "jaw drop",
        43: "eyes closed",
    }
)
"""The action units that can be drawn, by their FACS number."""

PROTOTYPES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "angry": (4, 5, 7, 23),
        "disgust": (9, 15, 16),
        "fear": (1, 2, 4, 5, 7, 20, 26),
        "happy": (6, 12),
        "neutral": (),
        "sad": (1, 4, 15),
        "surprise": (1, 2, 5, 26),
    }
)
"""The action units of each expression (Ekman & Friesen 1978; Ekman, Friesen & Hager 2002)."""

VARIANTS: Mapping[str, Mapping[int, float]] = MappingProxyType(
    {
        "angry": MappingProxyType({17: 0.25, 24: 0.4, 25: 0.2}),
        "disgust": MappingProxyType({4: 0.4, 6: 0.3, 7: 0.3, 10: 0.6, 17: 0.4, 25: 0.3}),
        "fear": MappingProxyType({25: 0.7}),
        "happy": MappingProxyType({25: 0.65, 26: 0.2}),
        "neutral": MappingProxyType({}),
        "sad": MappingProxyType({6: 0.15, 17: 0.4, 25: 0.1, 43: 0.3}),
        "surprise": MappingProxyType({25: 0.5}),
    }
)
"""Units that join a prototype in some people, with the share of faces in which they do; the shares are ours."""

HAIR_STYLES: tuple[str, ...] = ("bald", "short", "fringe", "long", "curly")
"""What `Identity.hair_style` may be."""

GLASSES: tuple[str, ...] = ("none", "round", "square")
"""What `Identity.glasses` may be."""


def _check_ranges(value: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse a dataclass whose named fields lie outside their ranges (NaN lies outside every range)."""
    for name, (low, high) in ranges.items():
        received = getattr(value, name)
        if not low <= received <= high:
            raise UsageError(f"{type(value).__name__}.{name}: must be from {low:g} to {high:g}, received {received!r}")


def _check_choice(owner: str, received: str, allowed: tuple[str, ...]) -> None:
    if received not in allowed:
        raise unknown_choice(owner, received, allowed)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who it is. The numbers called scales multiply an average adult's measure.

    Attributes:
        face_width, jaw, chin_length: breadth of the face; how square the jaw is; length below the mouth.
        eye_size, eye_spacing, lid_tilt: scales, and how much higher the outer corner of the eye is (head units).
        brow_height, brow_thickness, brow_arch, brow_strength: shift upward (head units), scales, darkness 0 to 1.
        nose_length, nose_width, nose_height: scales; height is how far it stands out.
        mouth_width, lip_fullness, mouth_rest: scales, and how far the corners are raised at rest (head units).
        cheekbones: how strongly cheeks and bones are modelled.
        skin: 0 is the lightest skin, 1 the darkest.
        hair: 0 is black, through brown and red to blond at 1.
        grey: share of grey in the hair, 0 to 1.
        hair_style: one of `HAIR_STYLES`.
        hair_volume: thickness of the hair in head units.
        hairline: shift of the hairline upward, in head units.
        age: 0 is smooth skin, 1 deeply lined.
        beard, moustache: density, 0 to 1.
        make_up: redness of the lips and darkness of the lashes, 0 to 1.
        glasses: one of `GLASSES`.
        texture: seed of what is random in skin and hair; the same number gives the same texture in every frame.
    """

    face_width: float = 1.0
    jaw: float = 0.5
    chin_length: float = 1.0
    eye_size: float = 1.0
    eye_spacing: float = 1.0
    lid_tilt: float = 0.015
    brow_height: float = 0.0
    brow_thickness: float = 1.0
    brow_arch: float = 1.0
    brow_strength: float = 0.75
    nose_length: float = 1.0
    nose_width: float = 1.0
    nose_height: float = 1.0
    mouth_width: float = 1.0
    lip_fullness: float = 1.0
    mouth_rest: float = 0.0
    cheekbones: float = 1.0
    skin: float = 0.3
    hair: float = 0.3
    grey: float = 0.0
    hair_style: str = "short"
    hair_volume: float = 0.08
    hairline: float = 0.0
    age: float = 0.3
    beard: float = 0.0
    moustache: float = 0.0
    make_up: float = 0.0
    glasses: str = "none"
    texture: int = 0

    def __post_init__(self) -> None:
        _check_ranges(self, _IDENTITY_RANGES)
        _check_choice("Identity.hair_style", self.hair_style, HAIR_STYLES)
        _check_choice("Identity.glasses", self.glasses, GLASSES)


_SCALES = (
    *("face_width", "chin_length", "eye_size", "eye_spacing", "brow_thickness", "brow_arch", "nose_length"),
    *("nose_width", "nose_height", "mouth_width", "lip_fullness", "cheekbones"),
)
_SHARES = ("jaw", "brow_strength", "skin", "hair", "grey", "age", "beard", "moustache", "make_up")
_IDENTITY_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_SCALES, (0.5, 1.8)),
    **dict.fromkeys(_SHARES, (0.0, 1.0)),
    **dict.fromkeys(("lid_tilt", "brow_height", "mouth_rest"), (-0.08, 0.08)),
    "hair_volume": (0.0, 0.3),
    "hairline": (-0.2, 0.3),
    "texture": (0, 2**63 - 1),
}


@dataclass(frozen=True, slots=True)
class Pose:
    """How the head is held, in degrees.

    Attributes:
        yaw: -45 to 45; positive turns the face towards the right side of the picture, the person's left.
        pitch: -30 to 30; positive looks up.
        roll: -180 to 180; positive turns the picture clockwise.
        gaze_x, gaze_y: where the eyes look, -1 to 1: positive is the picture's right, and down.
        asymmetry: -0.5 to 0.5; how much stronger the left side of the face moves than the right.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    asymmetry: float = 0.0

    def __post_init__(self) -> None:
        ranges = {"yaw": (-45.0, 45.0), "pitch": (-30.0, 30.0), "roll": (-180.0, 180.0)}
        _check_ranges(self, {**ranges, "gaze_x": (-1, 1), "gaze_y": (-1, 1), "asymmetry": (-0.5, 0.5)})


@dataclass(frozen=True, slots=True)
class Lighting:
    """One soft lamp and the light from everywhere.

    Attributes:
        azimuth: degrees, -90 to 90; positive is from the picture's right.
        elevation: degrees, -30 to 90; positive is from above.
        ambient: share of the light that comes from everywhere, 0 to 1.
        strength: exposure, 0.2 to 3; at 1 a light skin is bright and not burnt out.
        warmth: -1 is bluish, 1 reddish.
    """

    azimuth: float = 20.0
    elevation: float = 35.0
    ambient: float = 0.45
    strength: float = 1.0
    warmth: float = 0.0

    def __post_init__(self) -> None:
        ranges = {"azimuth": (-90.0, 90.0), "elevation": (-30.0, 90.0), "ambient": (0.0, 1.0)}
        _check_ranges(self, {**ranges, "strength": (0.2, 3.0), "warmth": (-1.0, 1.0)})


@dataclass(frozen=True, slots=True)
class Camera:
    """How the head is framed and what the camera does to it.

    Attributes:
        frame: side of the square picture in head units, 1.2 to 20: 2.2 is a close crop, 3 shows the whole hair.
        shift_x, shift_y: how far the head stands right of and below the middle, in head units.
        blur: sigma of the blur, as a share of the picture's side, 0 to 0.1.
        noise: standard deviation of the sensor's noise in grey levels of 255, 0 to 50.
        backdrop: brightness behind the head, 0 to 1.
        clutter: contrast of what is behind the head, 0 to 1.
        texture: seed of what is random in background and noise.
    """

    frame: float = 2.4
    shift_x: float = 0.0
    shift_y: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    backdrop: float = 0.5
    clutter: float = 0.3
    texture: int = 0

    def __post_init__(self) -> None:
        ranges = {"frame": (1.2, 20.0), "shift_x": (-10.0, 10.0), "shift_y": (-10.0, 10.0), "blur": (0.0, 0.1)}
        ranges |= {"noise": (0.0, 50.0), "backdrop": (0.0, 1.0), "clutter": (0.0, 1.0), "texture": (0, 2**63 - 1)}
        _check_ranges(self, ranges)


@dataclass(frozen=True, slots=True)
class FaceParameters:
    """Everything that decides a drawn face; equal parameters give equal pictures.

    Attributes:
        identity, pose, lighting, camera: see there.
        actions: intensity 0 to 1 of each action unit at work, by FACS number; a missing unit is at rest.
    """

    identity: Identity = field(default_factory=Identity)
    pose: Pose = field(default_factory=Pose)
    lighting: Lighting = field(default_factory=Lighting)
    camera: Camera = field(default_factory=Camera)
    actions: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for unit, intensity in self.actions.items():
            if unit not in ACTION_UNITS:
                raise UsageError(f"actions: unit must be one of {', '.join(map(str, ACTION_UNITS))}, received {unit!r}")
            if not 0.0 <= intensity <= 1.0:
                raise UsageError(f"actions[{unit}]: intensity must be from 0 to 1, received {intensity!r}")
        object.__setattr__(self, "actions", MappingProxyType(dict(self.actions)))

    def __hash__(self) -> int:
        return hash((self.identity, self.pose, self.lighting, self.camera, frozenset(self.actions.items())))


def prototype(expression: str, intensity: float = 1.0) -> dict[int, float]:
    """The action units of an expression, all at one intensity.

    Args:
        expression: one of `mien.labels.EXPRESSIONS`.
        intensity: 0 to 1.

    Raises:
        UsageError: there is no such expression.
    """
    if expression not in PROTOTYPES:
        raise unknown_choice("expression", expression, PROTOTYPES)
    return dict.fromkeys(PROTOTYPES[expression], intensity)
