"""One colour for each class, in pictures and plots alike: told apart by colour-blind people, too.

Most are of Okabe and Ito's palette (2008, https://jfly.uni-koeln.de/color/), some of Paul Tol's "muted" (2021,
https://personal.sron.nl/~pault/). Simulated for protan-, deuter- and tritanopia (Machado et al. 2009), any two of the
seven expressions lie at least 12 apart in CIEDE2000. Colours are RGB, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from mien.labels import canonical, refuse_text

Colour = tuple[int, int, int]

EXPRESSION_COLOURS: dict[str, Colour] = {
    "angry": (213, 94, 0),
    "disgust": (0, 158, 115),
    "fear": (204, 121, 167),
    "happy": (240, 228, 66),
    "neutral": (200, 200, 200),
    "sad": (0, 114, 178),
    "surprise": (86, 180, 233),
}
"""The seven expressions, also under their other spellings."""

UNCERTAIN_COLOUR: Colour = (128, 128, 128)
"""A face whose expression is uncertain (`mien.results.UNCERTAIN`)."""

OTHER_COLOURS: tuple[Colour, ...] = (
    *((230, 159, 0), (136, 34, 85), (153, 153, 51), (68, 170, 153), (170, 68, 153), (221, 204, 119)),
    *((102, 17, 0), (51, 34, 136), (17, 119, 51), (136, 204, 238)),
)
"""What other classes get, in their order; after the last, the first again."""


def colours_of(classes: Sequence[str]) -> dict[str, Colour]:
    """The colour of each class, by name; the same names in the same order give the same colours.

    Raises:
        UsageError: it is a text, not several names.
    """
    refuse_text(classes)
    return dict(_colours(tuple(classes)))


@lru_cache(maxsize=64)
def _colours(classes: tuple[str, ...]) -> tuple[tuple[str, Colour], ...]:
    colours: dict[str, Colour] = {}
    others = 0
    for name in classes:
        known = EXPRESSION_COLOURS.get(canonical(name))
        if known is None:
            known = OTHER_COLOURS[others % len(OTHER_COLOURS)]
            others += 1
        colours[name] = known
    return tuple(colours.items())


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever is easier to read on a colour."""
    red, green, blue = (_linear(value / 255.0) for value in colour)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # WCAG 2: the contrast of black is (L + 0.05) / 0.05, that of white 1.05 / (L + 0.05).
    return (0, 0, 0) if (luminance + 0.05) ** 2 > 0.05 * 1.05 else (255, 255, 255)


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)
