"""The page in a real browser: the example, turning a picture, copying the table, paper."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from page_browser import Visit, bad, expect, needs_browser, opened_browser, png
from page_service import Service, serve_page

pytestmark = needs_browser

CLIPBOARD = """Object.defineProperty(navigator, "clipboard", {value: {writeText: async (text) => {
  if (window.refuses) throw new Error("no");
  window.copied = text; }}});"""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with opened_browser() as opened:
        yield opened


@pytest.fixture
def service() -> Iterator[Service]:
    with serve_page(Service()) as running:
        yield running


@pytest.fixture
def visit(browser, service) -> Iterator[Visit]:
    visiting = Visit(browser, service, prepare=CLIPBOARD)
    yield visiting
    visiting.context.close()


def lying(name: str) -> dict:
    """A picture that is red on its left half, and blue on the right."""
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[:, :50, 0] = pixels[:, 50:, 2] = 255
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": data.getvalue()}


def test_the_example_is_read_like_any_picture(visit):
    visit.page.click("#example")
    expect(visit.one("#item-name")).to_have_text("example.jpg")
    expect(visit.one("#item-state")).to_have_text("1 face")
    expect(visit.one("#stage img")).to_have_js_property("naturalWidth", 1200)
    expect(visit.one("#example")).to_be_hidden()
    assert visit.service.posted() == ["example.jpg"]
    assert visit.complaints == []


def test_an_example_that_cannot_be_had_is_told(visit):
    visit.page.route("**/example.jpg", lambda route: route.abort())
    visit.page.click("#example")
    expect(visit.one("#alert")).to_contain_text("The example could not be loaded")


def test_a_picture_that_lies_on_its_side_is_turned_and_read_again(visit):
    visit.add(lying("1-side.png"), png("0-wall.png"))
    before = visit.one("#stage img").get_attribute("src")
    visit.page.click("#turn")
    expect(visit.one("#stage img")).not_to_have_attribute("src", before)
    expect(visit.one("#stage img")).to_have_js_property("naturalHeight", 100)
    expect(visit.one("#item-state")).to_have_text("1 face")
    assert len(visit.service.received) == 3
    turned = np.asarray(Image.open(io.BytesIO(visit.service.received[-1])).convert("RGB"))
    assert turned.shape == (100, 60, 3)
    assert turned[10, 30].tolist() == [255, 0, 0], "what was on the left is on top"
    assert turned[90, 30].tolist() == [0, 0, 255]
    saved = Image.open(io.BytesIO(visit.download("#save-png")))
    assert saved.size == (60, 100)
    expect(visit.one("#turn")).to_have_attribute("aria-label", "Turn 1-side.png by a quarter to the right")
    assert visit.complaints == []


def test_what_cannot_be_shown_cannot_be_turned(visit):
    visit.page.set_input_files("#files", [bad()])
    expect(visit.one("#item-state")).to_have_text("Failed")
    expect(visit.one("#turn")).to_be_hidden()


def test_the_table_is_copied_as_spreadsheets_take_it(visit):
    visit.add(png("2-a\tb.png"), png("0-wall.png"))
    visit.page.click("#copy")
    expect(visit.one("#copy")).to_have_text("Copied")
    expect(visit.one("#status")).to_have_text("The table was copied.")
    head, first, second, end = visit.page.evaluate("() => window.copied").split("\n")
    assert head.split("\t")[:5] == ["Picture", "Face", "Expression", "Confidence", "angry"]
    assert first.split("\t")[:4] == ["2-a b.png", "1", "happy", "90%"]
    assert [len(line.split("\t")) for line in (head, first, second)] == [11] * 3
    assert end == ""
    expect(visit.one("#copy")).to_have_text("Copy table")


def test_a_browser_that_does_not_copy_says_so(visit):
    visit.add(png("1-a.png"))
    visit.page.evaluate("() => { window.refuses = true; }")
    visit.page.click("#copy")
    expect(visit.one("#alert")).to_contain_text("take the CSV file")


def test_no_button_copies_where_browsers_forbid_it(browser, service):
    """On a page that came by http from another machine."""
    away = 'Object.defineProperty(navigator, "clipboard", {value: undefined});'
    visiting = Visit(browser, service, prepare=away)
    visiting.add(png("1-a.png"))
    expect(visiting.one("#copy")).to_be_hidden()
    visiting.context.close()


def test_paper_holds_the_whole_result_and_no_controls(browser, service):
    visiting = Visit(browser, service, viewport={"width": 718, "height": 1000}, color_scheme="dark")  # A4 has so much
    visiting.add(png("9-crowd.png"), png("2-friends.png"))
    visiting.page.emulate_media(media="print", color_scheme="dark")
    for control in ("#choose", "#remove", "#turn", "#copy", "#save-csv", "#gallery", "#confidence"):
        expect(visiting.one(control)).to_be_hidden()
    inside = "(area) => area.scrollWidth <= area.clientWidth && area.scrollHeight <= area.clientHeight"
    assert visiting.one("#face-list").evaluate(inside), "faces would be cut off"
    assert visiting.one(".scroll").evaluate(inside), "columns would be cut off"
    assert visiting.overflow() <= 0
    assert visiting.one("body").evaluate("(body) => getComputedStyle(body).backgroundColor") == "rgb(255, 255, 255)"
    visiting.context.close()


def test_fingers_are_not_told_to_drop_and_paste(browser, service):
    phone = Visit(browser, service, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    expect(phone.one(".lede")).to_contain_text("Take a picture, or choose some.", use_inner_text=True)
    expect(phone.one(".lede")).not_to_contain_text("Drop", use_inner_text=True)
    expect(phone.one(".hint")).to_be_hidden()
    phone.context.close()


def test_many_faces_are_counted_in_a_sentence(visit):
    visit.add(png("3-friends.png"), png("4-more.png"))
    expect(visit.one("#table-note")).to_have_text("7 faces: 2 happy, 2 neutral, 2 sad, 1 surprise.")
    visit.one("#confidence").fill("85")
    expect(visit.one("#table-note")).to_contain_text("uncertain")
