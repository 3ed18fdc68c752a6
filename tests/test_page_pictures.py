"""The page in a real browser: pictures in, faces out."""

import csv
import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageOps

from mien import EXPRESSIONS
from mien.analysis import ROW_COLUMNS
from mien.images import decode
from page_browser import Visit, bad, expect, needs_browser, opened_browser, png
from page_service import Refused, Service, canned, serve_page

pytestmark = needs_browser


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
    visiting = Visit(browser, service)
    yield visiting
    visiting.context.close()


def painted(visit: Visit, height: float) -> np.ndarray:
    """What is drawn over the picture at this height, 0 to 1: alpha, uint8 (width,)."""
    script = """(canvas, height) => { const row = Math.round(height * canvas.height);
      const data = canvas.getContext("2d").getImageData(0, row, canvas.width, 1).data;
      return Array.from(data.filter((_, index) => index % 4 === 3)); }"""
    return np.array(visit.one("#stage canvas").evaluate(script, height), np.uint8)


def test_several_faces_are_drawn_listed_and_tabled(visit):
    visit.add(png("3-friends.png"))
    expect(visit.one("#item-state")).to_have_text("3 faces")
    assert [text.split() for text in visit.texts("#face-list label")] == [
        ["1", "happy", "90%"],
        ["2", "neutral", "70%"],
        ["3", "sad", "50%"],
    ]
    assert visit.texts("#bars tbody th") == list(EXPRESSIONS)
    assert visit.one("#bars tr.best").inner_text().split() == ["happy", "90%"]
    expect(visit.one("#table tbody tr")).to_have_count(3)
    assert visit.one("#stage img").get_attribute("alt") == (
        "3-friends.png: 3 faces: 1 happy 90%, 2 neutral 70%, 3 sad 50%"
    )
    expect(visit.one("#status")).to_have_text("1 picture read, 3 faces found.")
    assert visit.service.posted() == ["3-friends.png"]
    assert visit.service.received == [png("3-friends.png")["buffer"]], "files are sent as they are"
    assert visit.outside() == []
    assert visit.complaints == []


def test_boxes_are_drawn_where_the_faces_are(visit):
    visit.add(png("1-face.png", (400, 300)))
    # The canned face lies from (125, 90) to (275, 240).
    alpha = painted(visit, 165 / 300)
    drawn = np.flatnonzero(alpha) / len(alpha) * 400
    assert drawn.min() == pytest.approx(125, abs=2)
    assert drawn.max() == pytest.approx(275, abs=2)
    assert not ((drawn > 135) & (drawn < 265)).any()
    assert not painted(visit, 250 / 300).any()


def lying(kind: str, orientation: int) -> dict:
    """A picture with four colours in its corners, which EXIF says to turn."""
    data, exif = io.BytesIO(), Image.Exif()
    exif[0x112] = orientation
    corners = np.array([[(250, 0, 0), (0, 250, 0)], [(0, 0, 250), (250, 250, 0)]], np.uint8)
    picture = Image.fromarray(corners.repeat(100, 0).repeat(200, 1))
    picture.save(data, kind, exif=exif.tobytes(), **({"lossless": True} if kind == "webp" else {}))
    return {"name": f"1-{orientation}.{kind}", "mimeType": f"image/{kind}", "buffer": data.getvalue()}


def corners_shown(visit: Visit, selector: str) -> list[list[bool]]:
    """What of red, green and blue an image or canvas shows a sixteenth within each of its corners."""
    script = """(source) => { const canvas = document.createElement("canvas");
      const context = Object.assign(canvas, { width: 160, height: 160 }).getContext("2d", { willReadFrequently: true });
      context.drawImage(source, 0, 0, 160, 160);
      return [[10, 10], [150, 10], [10, 150], [150, 150]].map(([x, y]) =>
        Array.from(context.getImageData(x, y, 1, 1).data.slice(0, 3), (value) => value > 125)); }"""
    return visit.one(selector).evaluate(script)


@pytest.mark.parametrize(
    ("kind", "orientation"), [*(("webp", turn) for turn in range(1, 9)), ("jpeg", 6), ("png", 6), ("avif", 3)]
)
def test_a_picture_that_exif_says_to_turn_is_shown_as_it_was_read(browser, kind, orientation):
    def analyse(name: str, data: bytes) -> dict:
        upright = io.BytesIO()
        ImageOps.exif_transpose(Image.open(io.BytesIO(data))).save(upright, "PNG")
        return canned(name, upright.getvalue())

    with serve_page(Service(analyse=analyse)) as service:
        visit = Visit(browser, service)
        picture = lying(kind, orientation)
        visit.add(picture)
        height, width = decode(picture["buffer"]).shape[:2]
        pixels = decode(picture["buffer"])[[[20, 20], [-20, -20]], [[20, -20], [20, -20]]] > 125
        expect(visit.one("#stage img")).to_have_js_property("naturalWidth", width)
        assert visit.one("#stage img").evaluate("image => image.naturalHeight") == height
        thumb = "#gallery canvas"
        for selector in ("#stage img", thumb):
            assert corners_shown(visit, selector) == pixels.reshape(4, 3).tolist()
        assert service.received == [picture["buffer"]], "files are sent as they are"
        alpha = painted(visit, 0.5)
        side = min(width, height) * 0.5
        drawn = np.flatnonzero(alpha) / len(alpha) * width
        assert drawn.min() == pytest.approx(width / 2 - side / 2, abs=3)
        saved = np.asarray(Image.open(io.BytesIO(visit.download("#save-png"))).convert("RGB"))
        assert saved.shape == (height, width, 3)
        visit.context.close()
        assert visit.complaints == []


def test_a_picture_that_the_browser_cannot_show_has_words_in_its_place_and_no_boxes_over_them(visit):
    data = io.BytesIO()
    Image.new("RGB", (240, 160)).save(data, "TIFF")
    visit.add({"name": "1-face.tif", "mimeType": "image/tiff", "buffer": data.getvalue()})
    expect(visit.one("#stage")).to_have_text(
        "This browser cannot show this kind of picture; its faces are in the table."
    )
    expect(visit.one("#stage canvas")).to_have_count(0)
    expect(visit.one("#table tbody tr")).to_have_count(1)


def test_a_click_on_a_face_or_its_row_chooses_it(visit):
    visit.add(png("3-friends.png", (600, 200)))
    stage = visit.one("#stage canvas").bounding_box()
    visit.page.mouse.click(stage["x"] + stage["width"] * 0.83, stage["y"] + stage["height"] / 2)
    expect(visit.one("#bars h3")).to_have_text("Face 3")
    visit.page.click("#table button >> nth=1")
    expect(visit.one("#bars h3")).to_have_text("Face 2")
    expect(visit.one("#face-list input:checked")).to_have_value("2")
    expect(visit.one("#table tr.chosen th")).to_have_count(1)


def test_no_face_is_said_plainly(visit):
    visit.add(png("0-wall.png"))
    expect(visit.one("#item-state")).to_have_text("No face")
    expect(visit.one("#faces-empty")).to_contain_text("No face was found.")
    expect(visit.one("#table-note")).to_have_text("No face was found.")
    expect(visit.one("#status")).to_have_text("1 picture read, no face found.")
    assert visit.complaints == []


def test_one_picture_that_fails_does_not_stop_the_rest(visit):
    visit.add(png("2-a.png"), bad(), png("0-b.png"), png("busy.png"), png("1-c.png"))
    assert visit.texts(".tile .state") == ["2 faces", "Failed", "No face", "1 face", "1 face"]
    visit.page.click(".tile >> nth=1")
    expect(visit.one("#stage")).to_contain_text("This picture could not be read")
    expect(visit.one("#stage")).to_contain_text("bad.png: is not a picture that can be read; use JPEG, PNG or WebP.")
    expect(visit.one("#progress-text")).to_have_text("5 pictures, 1 failed")
    assert visit.service.posted().count("busy.png") == 2, "busy: asked again after Retry-After"
    results = json.loads(visit.download("#save-json"))["results"]
    assert [one["source"] for one in results] == ["2-a.png", "bad.png", "0-b.png", "busy.png", "1-c.png"]
    assert "not a picture" in results[1]["error"]["detail"]


def test_reading_can_be_stopped_and_taken_up_again(visit):
    visit.page.set_input_files("#files", [png(f"slow-{number}.png") for number in range(6)])
    visit.page.click("#cancel")
    expect(visit.one("#cancel")).to_be_hidden()
    states = visit.texts(".tile .state")
    assert states.count("Stopped") >= 4
    visit.page.click(".tile >> nth=5")
    visit.page.click("#again-one")
    expect(visit.one("#item-state")).to_have_text("1 face")
    visit.page.click("#remove")
    expect(visit.one(".tile")).to_have_count(5)
    visit.page.click("#clear")
    expect(visit.one("#viewer")).to_be_hidden()
    expect(visit.one("#results")).to_be_hidden()
    expect(visit.one("#choose")).to_be_focused()


HAND_OVER = """([kind, name, bytes]) => {
  const transfer = new DataTransfer();
  if (bytes) transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
  else transfer.items.add("words", "text/plain");
  const make = kind === "paste" ? ClipboardEvent : DragEvent;
  const data = kind === "paste" ? {clipboardData: transfer} : {dataTransfer: transfer};
  document.body.dispatchEvent(new make(kind, {...data, bubbles: true, cancelable: true}));
}"""


def test_pictures_come_in_by_paste_and_drop(visit):
    data = list(png("image.png")["buffer"])
    visit.page.evaluate(HAND_OVER, ["paste", "image.png", data])
    expect(visit.one("#item-name")).to_have_text("pasted-1.png")
    expect(visit.one("#item-state")).to_have_text("1 face")
    visit.page.evaluate(HAND_OVER, ["dragenter", "2-x.png", data])
    expect(visit.one("#veil")).to_be_visible()
    visit.page.evaluate(HAND_OVER, ["drop", "2-x.png", data])
    expect(visit.one("#veil")).to_be_hidden()
    expect(visit.one("#item-state")).to_have_text("2 faces")
    assert visit.service.posted() == ["pasted-1.png", "2-x.png"]
    visit.page.evaluate(HAND_OVER, ["paste", "", None])
    expect(visit.one("[role=alert]")).to_contain_text("There is no picture on the clipboard")


def test_downloads_hold_what_the_command_line_writes(visit):
    visit.add(png("2-b, c.png", (300, 200)), png("1-a.png", (300, 200)))
    rows = list(csv.reader(io.StringIO(visit.download("#save-csv").decode())))
    assert rows[0] == [*ROW_COLUMNS, *EXPRESSIONS]
    assert len(rows) == 4
    first = dict(zip(rows[0], rows[1], strict=True))
    assert (first["source"], first["frame"], first["time"], first["track"]) == ("2-b, c.png", "0", "", "")
    assert (first["expression"], float(first["confidence"]), float(first["happy"])) == ("happy", 0.9, 0.9)
    document = json.loads(visit.download("#save-json"))
    assert document["classes"] == list(EXPRESSIONS)
    assert document["models"] == ["mien-small"]
    assert document["results"][1]["size_wh"] == [300, 200]
    assert [*document["results"][0]["faces"][0]] == [
        *("track", "box", "score", "expression", "confidence", "probabilities", "keypoints")
    ]
    picture = np.asarray(Image.open(io.BytesIO(visit.download("#save-png"))).convert("RGB"), int)
    assert picture.shape == (200, 300, 3)
    changed = (np.abs(picture - (120, 140, 160)).sum(axis=2) > 30).mean()
    assert 0.01 < changed < 0.4


def test_below_the_least_confidence_a_face_is_uncertain(visit):
    visit.add(png("3-friends.png"))
    visit.page.locator("#confidence").fill("80")
    expect(visit.one("#confidence-value")).to_have_text("80%")
    assert [text.split()[1] for text in visit.texts("#face-list label")] == ["happy", "uncertain", "uncertain"]
    rows = list(csv.DictReader(io.StringIO(visit.download("#save-csv").decode())))
    assert [row["expression"] for row in rows] == ["happy", "uncertain", "uncertain"]
    assert float(rows[1]["neutral"]) == 0.7


def test_other_views_are_asked_for_when_pictures_are_read_again(visit):
    visit.add(png("1-a.png"))
    expect(visit.one("#again")).to_be_hidden()
    visit.page.select_option("#tta", "flip")
    with visit.page.expect_response("**/v1/analyze?tta=flip"):
        visit.page.click("#again")
    expect(visit.one("#again")).to_be_hidden()
    assert [path for path, _ in visit.posts()] == ["/v1/analyze?tta=none", "/v1/analyze?tta=flip"]


def test_a_token_is_asked_for_and_kept_in_memory_only(browser):
    with serve_page(Service(token="s3cret")) as service:
        service.config["token"] = True
        visit = Visit(browser, service)
        expect(visit.one("#token-form")).to_be_visible()
        expect(visit.one("#api")).to_be_hidden()
        assert visit.complaints == []
        visit.page.fill("#token", "wrong")
        visit.page.press("#token", "Enter")
        expect(visit.one("#token-note")).to_contain_text("did not accept this token")
        visit.page.fill("#token", "s3cret")
        visit.page.press("#token", "Enter")
        expect(visit.one("#token-form")).to_be_hidden()
        visit.add(png("1-a.png"))
        expect(visit.one("#item-state")).to_have_text("1 face")
        assert visit.posts()[-1][1]["Authorization"] == "Bearer s3cret"
        kept = visit.page.evaluate(
            "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
        )
        assert "s3cret" not in kept
        assert visit.page.input_value("#token") == ""
        visit.context.close()


def test_a_token_that_is_needed_all_at_once_holds_the_pictures_back(browser, service):
    visit = Visit(browser, service)
    service.token = "late"
    visit.page.set_input_files("#files", [png("1-a.png"), png("2-b.png")])
    expect(visit.one("#token")).to_be_focused()
    visit.page.fill("#token", "late")
    visit.page.press("#token", "Enter")
    expect(visit.one("#cancel")).to_be_hidden()
    expect(visit.one(".tile .state")).to_have_text(["1 face", "2 faces"])
    visit.context.close()


def test_a_service_that_went_away_is_one_clear_sentence(visit):
    visit.context.set_offline(True)
    visit.add(png("1-a.png"))
    expect(visit.one("#stage")).to_contain_text("The service does not answer: see that “mien serve” is still running")
    visit.context.set_offline(False)
    visit.page.click("#again-one")
    expect(visit.one("#item-state")).to_have_text("1 face")


@pytest.mark.parametrize("most", [255, 0], ids=["many bytes", "few bytes"])
def test_a_picture_that_is_too_large_for_the_service_is_sent_smaller(browser, most):
    noise = np.random.default_rng(0).integers(0, most, (600, 800, 3), np.uint8, endpoint=True)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "PNG")
    with serve_page(Service(limits={"max_body": 500_000, "max_pixels": 200_000})) as service:
        visit = Visit(browser, service)
        visit.add({"name": "1-large.png", "mimeType": "image/png", "buffer": data.getvalue()})
        expect(visit.one("#item-state")).to_have_text("1 face")
        assert len(service.received[0]) < 500_000
        width, height = Image.open(io.BytesIO(service.received[0])).size
        assert 190_000 < width * height <= 200_000
        [result] = json.loads(visit.download("#save-json"))["results"]
        assert result["size_wh"] == [800, 600]
        assert result["faces"][0]["box"]["x1"] == pytest.approx(250, abs=2), "in pixels of the picture itself"
        assert visit.complaints == []
        visit.context.close()


def test_a_page_that_cannot_start_says_so(browser):
    with serve_page(Service(extra={"/page/state.js": b"export const broken = ;"})) as service:
        page = browser.new_page()
        page.goto(service.address)
        expect(page.locator("[role=alert]")).to_contain_text("This page could not start: reload it")
        page.close()


def test_words_of_a_problem_are_shown_as_words(browser):
    def refuse(name: str, data: bytes) -> dict:
        raise Refused(413, "Too large", "the <b>picture</b> has too many pixels: make it smaller")

    with serve_page(Service(analyse=refuse)) as service:
        visit = Visit(browser, service)
        visit.add(png("1-a.png"))
        expect(visit.one("#stage")).to_contain_text("The <b>picture</b> has too many pixels: make it smaller.")
        visit.context.close()
