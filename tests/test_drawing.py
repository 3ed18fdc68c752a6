"""Contact sheets: every picture stands where it should, in its own colours. Faces: labels stand beside them."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fonts import SIGNS, add_font
from mien.colours import EXPRESSION_COLOURS, OTHER_COLOURS, UNCERTAIN_COLOUR, colours_of, ink_on
from mien.drawing import CAPTION_HEIGHT, GAP, MARGIN, Block, contact_sheet, draw_faces
from mien.errors import UsageError
from mien.face_labels import Style
from mien.lettering import draw_text, find_room, font_file, letter_size, text_patch
from mien.results import Box, Face, Prediction


def flat(*colours: tuple[int, ...]) -> np.ndarray:
    """One 8x8 picture of each colour."""
    return np.stack([np.full((8, 8, len(colour)), colour, np.uint8) for colour in colours])


def test_pictures_stand_row_by_row_below_their_caption():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    sheet = contact_sheet([Block("three", "colours", flat(*colours))], columns=2, tile=16)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1:] == (2 * MARGIN + 2 * 16 + GAP, 3)
    top = MARGIN + CAPTION_HEIGHT
    for place, colour in enumerate(colours):
        y, x = top + place // 2 * (16 + GAP), MARGIN + place % 2 * (16 + GAP)
        assert (sheet[y : y + 16, x : x + 16] == colour).all()
    assert (sheet[top + 16 + GAP :, MARGIN + 16 + GAP :] == 255).all()


def test_an_uncertain_face_is_drawn_in_a_colour_of_its_own():
    picture = np.zeros((200, 200, 3), np.uint8)
    shares = {"happy": 0.6, "sad": 0.4}
    for least, colour in ((0.0, EXPRESSION_COLOURS["happy"]), (0.9, UNCERTAIN_COLOUR)):
        drawn = draw_faces(picture, [Face(Box(60, 60, 140, 140), 1.0, Prediction(shares, least))], bars=False)
        assert (drawn == colour).all(axis=2).sum() > 300


def test_captions_are_drawn():
    bare = contact_sheet([Block("", "", flat((9,)))])
    captioned = contact_sheet([Block("happy", "7,215 faces", flat((9,)))])
    rows = np.flatnonzero((bare != captioned).any(axis=(1, 2)))
    assert len(rows) > 8
    assert MARGIN <= rows.min() <= rows.max() < MARGIN + CAPTION_HEIGHT


def test_grey_is_drawn_as_grey():
    sheet = contact_sheet([Block("", "", flat((77,)))], columns=1, tile=8)
    top = MARGIN + CAPTION_HEIGHT
    assert (sheet[top : top + 8, MARGIN : MARGIN + 8] == 77).all()


def test_blocks_stand_below_each_other():
    one, empty = Block("one", "", flat((1,))), Block("none", "", np.empty((0, 8, 8, 1), np.uint8))
    heights = [contact_sheet(blocks, tile=8).shape[0] for blocks in ([], [one], [empty], [one, empty, one])]
    assert heights[0] == 2 * MARGIN
    assert heights[3] - heights[0] == 2 * (heights[1] - heights[0]) + heights[2] - heights[0]


@pytest.mark.parametrize(
    "images", [np.zeros((1, 8, 8, 1)), np.zeros((8, 8, 1), np.uint8), np.zeros((1, 8, 8, 4), np.uint8)]
)
def test_other_arrays_are_refused(images):
    with pytest.raises(UsageError, match="images: must be uint8"):
        Block("x", "", images)


@pytest.mark.parametrize("options", [{"columns": 0}, {"tile": 7}])
def test_arguments_out_of_range(options):
    with pytest.raises(UsageError, match="columns: must be at least 1, tile at least 8"):
        contact_sheet([], **options)


SEVEN = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def face(box, expression="happy", *, share=0.7, track=None, classes=SEVEN):
    rest = (1 - share) / max(len(classes) - 1, 1)
    shares = {name: share if name == expression else rest for name in classes}
    return Face(Box(*box), 0.99, Prediction(shares), track_id=track)


def changed(image, faces, **options):
    """Where drawing changed a picture."""
    drawn = draw_faces(image, faces, **options)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (*image.shape[:2], 3)
    return (drawn != (image if image.ndim == 3 else image[:, :, None])).any(axis=2)


def grey(height, width, level=127):
    return np.full((height, width, 3), level, np.uint8)


def test_the_picture_handed_over_stays_as_it_is():
    image = grey(200, 300)
    assert changed(image, [face((50, 50, 120, 140))]).any()
    assert (image == 127).all()
    assert not changed(image, []).any()


@pytest.mark.parametrize("shape", [(90, 120), (90, 120, 1), (90, 120, 3)])
def test_grey_pictures_become_rgb(shape):
    drawn = draw_faces(np.full(shape, 90, np.uint8), [face((20, 20, 60, 70))])
    assert drawn.shape == (90, 120, 3)
    assert (drawn[45, 40] == 90).all()


def test_the_box_has_the_colour_of_the_expression():
    for expression in SEVEN:
        drawn = draw_faces(grey(400, 400), [face((100, 100, 300, 300), expression)])
        line = drawn[200, 95:110].tolist()
        assert list(EXPRESSION_COLOURS[expression]) in line


def test_a_label_stands_outside_the_face_where_there_is_room():
    mark = changed(grey(720, 1280), [face((400, 200, 600, 450), track=3)])
    assert not mark[210:440, 410:590].any()
    assert mark[170:198, 400:500].mean() > 0.5  # the chip above
    assert mark[210:300, 610:700].mean() > 0.5  # the panel beside
    bare = changed(grey(720, 1280), [face((400, 200, 600, 450), track=3)], bars=False)
    assert not bare[210:440, 610:].any()


@pytest.mark.parametrize(
    "box", [(-30, -30, 100, 90), (560, -40, 640, 60), (-40, 300, 40, 370), (580, 280, 700, 420), (200, 330, 300, 360)]
)
def test_labels_stay_in_the_picture_at_its_edges(box):
    """The same labels are drawn as in the middle: as many pixels of the chip's colour, none cut off."""
    chip_colour = EXPRESSION_COLOURS["happy"]
    edge = draw_faces(grey(360, 640), [face(box)], bars=False)
    x1, y1, x2, y2 = np.clip(box, 0, (640, 360, 640, 360))
    outside = np.ones((360, 640), bool)
    outside[y1:y2, x1:x2] = False
    chip = (edge == chip_colour).all(axis=2) & outside
    assert chip.sum() > 500
    rows, columns = np.flatnonzero(chip.any(axis=1)), np.flatnonzero(chip.any(axis=0))
    assert chip[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.5


boxes = st.tuples(st.floats(-50, 700), st.floats(-50, 400), st.floats(2, 300), st.floats(2, 300)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 400), st.integers(1, 700)),
    places=st.lists(boxes, max_size=8),
    colours=st.sampled_from([1, 3]),
    bars=st.booleans(),
)
def test_any_faces_can_be_drawn_on_any_picture(size, places, colours, bars):
    image = np.full((*size, colours), 77, np.uint8)
    faces = [face(place, SEVEN[i % 7], track=i + 1) for i, place in enumerate(places)]
    assert draw_faces(image, faces, bars=bars).shape == (*size, 3)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4)), min_size=2, max_size=12, unique=True))
def test_labels_of_neighbours_do_not_overlap_where_there_is_room(cells):
    """Each chip alone changes what it changes; together no pixel is changed by two."""
    faces = [face((160 * x + 40, 144 * y + 60, 160 * x + 90, 144 * y + 130), SEVEN[x % 7]) for x, y in cells]
    total = np.zeros((720, 1280), int)
    for one in faces[:6]:
        total += changed(grey(720, 1280), [one], bars=False)
    assert total.max() == 1
    assert (changed(grey(720, 1280), faces[:6], bars=False) == (total == 1)).all()
    with_bars = changed(grey(720, 1280), faces)
    for x, y in cells:
        assert not with_bars[144 * y + 68 : 144 * y + 122, 160 * x + 48 : 160 * x + 82].any()


def test_chips_avoid_each_other_even_where_faces_touch():
    taken = np.array([(0, 100, 100, 200, 3.0), (0, 80, 90, 100, 8.0)])
    (left, top, right, bottom), covered = find_room([(0, 80), (20, 80), (0, 200)], (60, 20), (400, 400), taken)
    assert (left, top, right, bottom, covered) == (0, 200, 60, 220, 0.0)
    spot, covered = find_room([(390, -5)], (60, 20), (400, 400), taken)
    assert spot == (340, 0, 400, 20)
    assert covered == 0
    assert find_room([(0, 90), (50, 110)], (40, 20), (100, 150), taken)[1] > 0


def test_a_tiny_picture_keeps_its_face_in_sight():
    mark = changed(grey(48, 48), [face((0, 0, 48, 48))])
    assert mark[12:44, 4:44].mean() < 0.05
    assert mark[0].all()
    assert changed(grey(4, 4), [face((0, 0, 4, 4))]).any()


def test_large_pictures_have_large_letters_and_lines():
    small = Style.of((0, 0, 200, 260), (640, 480))
    large = Style.of((0, 0, 2000, 2600), (6400, 4800))
    assert large.letters == pytest.approx(8 * small.letters, rel=0.2)
    assert large.line > 4 * small.line
    assert Style.of((0, 0, 60, 80), (6400, 4800)).letters < large.letters


def test_a_small_face_in_a_large_picture_stays_to_be_seen():
    mark = changed(grey(3000, 4000), [face((2000, 1500, 2040, 1550))], bars=False)
    assert not mark[1506:1544, 2006:2034].any()


def test_other_words_can_be_written():
    plain, other = (draw_faces(grey(200, 400), [face((50, 50, 150, 150))], names=n) for n in (None, {"happy": "froh"}))
    assert (plain != other).any()
    assert (draw_faces(grey(200, 400), [face((50, 50, 150, 150))], names={"x": "y"}) == plain).all()


@pytest.mark.parametrize(
    "name", ["joie", "Überraschung", "радость", "幸福", "سعيد", "🙂", "a\nb", "x" * 200, "\u0301", " "]
)
def test_any_script_is_drawn_or_shown_as_boxes(name):
    mark = changed(grey(300, 500), [face((100, 100, 200, 220), name, classes=(name, "other"))])
    assert mark.any()
    assert text_patch(name, 20).shape[1] < 600


def test_a_font_is_taken_that_has_the_signs(tmp_path, monkeypatch):
    def ink() -> list[int]:
        sheet = contact_sheet([Block(SIGNS, SIGNS, flat((255,)))])
        patch = text_patch.__wrapped__(SIGNS, 30)  # past what it keeps
        return [int((patch > 128).sum()), int((sheet < 128).sum())]

    boxes, known = ink(), font_file("\u0440\u0430\u0434")
    file = add_font(tmp_path, monkeypatch)
    assert font_file(SIGNS) == file
    assert font_file("\u0440\u0430\u0434") == known
    assert font_file("happy") is None
    assert all(now > 1.5 * before for now, before in zip(ink(), boxes, strict=True))  # squares that are filled


def test_accents_are_left_out_where_no_font_has_them(monkeypatch):
    monkeypatch.setattr("mien.lettering.font_file", lambda text: None)
    plain, accented = text_patch("gluck", 33), text_patch("glück", 33)
    assert (plain == accented).all()
    assert text_patch("радость", 33).any()


def test_text_is_ink_on_its_ground():
    patch = text_patch("happy 97%", 20)
    assert patch.shape[0] == text_patch("gÅ", 20).shape[0]
    assert patch.max() == 255
    image = grey(60, 200, 0)
    draw_text(image, patch, 10, 5, (255, 100, 0))
    part = image[5 : 5 + patch.shape[0], 10 : 10 + patch.shape[1]]
    assert np.abs(part[:, :, 0].astype(int) - patch).max() <= 2
    assert (part[:, :, 2] == 0).all()
    draw_text(image, patch, 195, 55, (9, 9, 9))
    draw_text(image, patch, -500, 5, (9, 9, 9))


@given(st.floats(1, 500))
def test_letters_have_few_sizes_near_the_one_wanted(wanted):
    assert letter_size(wanted) == pytest.approx(max(wanted, 8), rel=0.12)


def test_sizes_of_letters_are_few():
    assert len({letter_size(wanted) for wanted in np.linspace(8, 64, 2000)}) <= 25


def test_ink_can_be_read_on_every_colour():
    for colour in [*EXPRESSION_COLOURS.values(), *OTHER_COLOURS, (0, 0, 0), (255, 255, 255)]:
        lights = sorted(luminance(c) for c in (colour, ink_on(colour)))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5


def linear(colour):
    values = np.array(colour, float) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


# G. M. Machado et al. (2009), "A Physiologically-based Model for Simulation of Color Vision Deficiency", severity 1.
EYES = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("eyes", EYES)
def test_colour_blind_people_tell_the_expressions_apart(eyes):
    """CIELAB distances of at least 15, where 2 can just be seen."""
    seen = np.clip(np.array([linear(EXPRESSION_COLOURS[name]) for name in SEVEN]) @ np.array(EYES[eyes]).T, 0, 1)
    coded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(coded[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)[np.triu_indices(7, 1)]
    assert apart.min() >= 15


def test_classes_keep_their_colours():
    assert colours_of(["happiness", "x"])["happiness"] == EXPRESSION_COLOURS["happy"]
    many = colours_of([f"class {i}" for i in range(23)])
    assert list(many.values())[:10] == list(OTHER_COLOURS)
    assert many["class 0"] == many["class 10"]
    assert colours_of(SEVEN) == EXPRESSION_COLOURS
