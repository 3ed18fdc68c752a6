"""The page with the engine in the browser, which is a stand-in here: what it gets, and what the page says of it."""

import io
import math
from collections.abc import Iterator

import pytest
from PIL import Image

from page_browser import Visit, expect, needs_browser, opened_browser, png
from page_service import Service, serve_page

pytestmark = needs_browser

ENGINE = b"""
export async function openLocalEngine({ onProgress }) {
  onProgress({ loaded: 1, total: 4 });
  await new Promise((done) => setTimeout(done, 300));
  globalThis.got = [];
  return { name: "local", classes: ["happy", "sad"], async analyze(picture, options) {
    const corner = [...picture.data.slice(0, 4)];
    globalThis.got.push([picture instanceof ImageData, picture.width, picture.height, corner, options.tta]);
    const box = { x1: 10, y1: 10, x2: 60, y2: 60 };
    const said = { expression: "sad", confidence: 0.8, probabilities: { happy: 0.2, sad: 0.8 } };
    const face = { box, score: 0.9, ...said, keypoints: {}, track: null };
    return { source: options.name, size_wh: [picture.width, picture.height], faces: [face] };
  } };
}
"""
MANIFEST = b'{"models": [{"name": "mien-small", "default": true}]}'
FILES = {"/page/local/engine.js": ENGINE, "/page/models/manifest.json": MANIFEST}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with opened_browser() as opened:
        yield opened


@pytest.fixture
def service() -> Iterator[Service]:
    with serve_page(Service(extra=dict(FILES))) as running:
        yield running


def turned() -> dict:
    """A picture that lies on its side, and says so: 80 wide, 120 high when upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    Image.new("RGB", (120, 80), (200, 0, 0)).save(data, "JPEG", exif=exif)
    return {"name": "turned.jpg", "mimeType": "image/jpeg", "buffer": data.getvalue()}


def test_a_static_export_reads_in_the_browser_and_sends_nothing(browser, service):
    service.config = {"service": False}
    visit = Visit(browser, service)
    expect(visit.one("#choice-service")).to_be_hidden()
    expect(visit.one("#privacy")).to_contain_text("nothing leaves this tab")
    visit.add(turned(), png("clear.png", (90, 70), (255, 0, 0, 0)))
    expect(visit.one(".tile .state")).to_have_text(["1 face", "1 face"])
    got = visit.page.evaluate("globalThis.got")
    assert [one[:3] for one in got] == [[True, 80, 120], [True, 90, 70]]
    assert got[1][3] == [255, 255, 255, 255], "what can be seen through is white"
    assert visit.posts() == []
    assert not [url for url in visit.asked if "/v1/" in url]
    assert visit.complaints == []
    visit.context.close()


def test_the_switch_loads_the_engine_when_it_is_first_used(browser, service):
    service.config["local"] = True
    visit = Visit(browser, service)
    visit.add(png("2-a.png"))
    assert not [url for url in visit.asked if "local/engine.js" in url]
    visit.page.check("[value=local]")
    expect(visit.one("#note-local")).to_have_text("Loading the models: 25%")
    expect(visit.one("#local-progress")).to_be_visible()
    expect(visit.one("#local-progress")).to_be_hidden()
    visit.page.click("#again")
    expect(visit.one("#item-state")).to_have_text("1 face")
    assert visit.texts("#bars tbody th") == ["happy", "sad"]
    assert len(visit.posts()) == 1
    assert visit.complaints == []
    visit.context.close()


def test_pictures_that_wait_for_a_token_are_read_in_the_browser_without_one(browser, service):
    service.config |= {"local": True, "token": True}
    service.token = "s3cret"
    visit = Visit(browser, service)
    visit.page.set_input_files("#files", [png("2-a.png"), png("3-b.png")])
    expect(visit.one("#token")).to_be_focused()
    visit.page.check("[value=local]")
    expect(visit.one(".tile .state")).to_have_text(["1 face", "1 face"])
    expect(visit.one("#token-form")).to_be_hidden()
    visit.page.check("[value=service]")
    expect(visit.one("#token-form")).to_be_visible()
    assert visit.posts() == []
    visit.context.close()


def test_a_token_is_still_asked_for_when_the_browsers_engine_cannot_be_loaded(browser, service):
    service.config |= {"local": True, "token": True}
    service.token = "s3cret"
    service.extra["/page/local/engine.js"] = b"export async function openLocalEngine() { throw new Error('no'); }"
    visit = Visit(browser, service)
    visit.page.click("[value=local]")
    expect(visit.one("[value=service]")).to_be_checked()
    expect(visit.one("#token-form")).to_be_visible()
    visit.context.close()


def test_where_the_browsers_engine_is_not_installed_the_page_says_what_to_do(browser, service):
    visit = Visit(browser, service)
    expect(visit.one("[value=local]")).to_be_disabled()
    expect(visit.one("#note-local")).to_contain_text("Run “make web”")
    visit.context.close()


def test_an_engine_that_cannot_be_loaded_leaves_the_service_chosen(browser, service):
    service.config["local"] = True
    service.extra["/page/local/engine.js"] = (
        b"export async function openLocalEngine() { throw new Error('The runtime is missing: run make web'); }"
    )
    visit = Visit(browser, service)
    visit.page.click("[value=local]")
    expect(visit.one("[role=alert]")).to_contain_text("The runtime is missing: run make web.")
    expect(visit.one("[value=service]")).to_be_checked()
    visit.context.close()


WORKERS = """async () => {
  const workers = [];
  globalThis.Worker = class {
    constructor() { workers.push(this); }
    postMessage({ id }) { if (!this.over) setTimeout(() => this.onmessage({ data: { id, result: { model: "a" } } })); }
    terminate() { this.over = true; }
  };
  const { openLocalEngine } = await import("/page/local/engine.js");
  const engine = await openLocalEngine();
  workers[0].onerror(new Event("error"));
  const late = new Promise((done) => setTimeout(done, 2000, "no answer"));
  return [await Promise.race([engine.analyze(new ImageData(1, 1)), late]), workers.length];
}"""


def test_another_worker_reads_where_one_has_failed(browser):
    with serve_page(Service()) as service:
        page = browser.new_page()
        page.goto(service.address)
        assert page.evaluate(WORKERS) == [{"model": "a"}, 2]
        page.close()


def test_labels_stay_in_the_picture_and_do_not_cover_each_other(browser, service):
    visit = Visit(browser, service)
    script = """async () => {
      const { placeLabels } = await import("/page/labels.js");
      const faces = [];
      for (let row = 0; row < 4; row += 1) for (let column = 0; column < 6; column += 1)
        faces.push({ left: 50 * column, top: 60 * row, right: 50 * column + 30, bottom: 60 * row + 36 });
      const sizes = faces.map(() => [{ width: 90, height: 18 }, { width: 60, height: 18 }, { width: 18, height: 18 }]);
      return placeLabels(faces, sizes, { width: 300, height: 240 }, [...faces.keys()]).map((one) => one.area);
    }"""
    areas = visit.page.evaluate(script)
    assert len(areas) == 24
    for area in areas:
        assert area["left"] >= 0
        assert area["top"] >= 0
        assert area["right"] <= 300
        assert area["bottom"] <= 240
    crossing = [
        (one, other)
        for index, one in enumerate(areas)
        for other in areas[:index]
        if one["left"] < other["right"] - 1
        and other["left"] < one["right"] - 1
        and one["top"] < other["bottom"] - 1
        and other["top"] < one["bottom"] - 1
    ]
    assert crossing == []
    visit.context.close()


def test_faces_keep_their_number_and_their_probabilities_are_averaged(browser, service):
    visit = Visit(browser, service)
    script = """async () => {
      const { Tracker } = await import("/page/tracking.js");
      const tracker = new Tracker();
      const face = (x, share) => ({
        box: { x1: x, y1: 50, x2: x + 40, y2: 90 }, score: 0.99, probabilities: { happy: share, sad: 1 - share } });
      const seen = [];
      for (let step = 0; step < 20; step += 1) {
        // Two that walk past each other, in changing order; the second looks different from step 10 on.
        const pair = [face(20 + 15 * step, 1), face(300 - 15 * step, step < 10 ? 1 : 0)];
        const faces = tracker.follow(step % 2 ? pair.reverse() : pair, step / 10);
        seen.push(faces.map(({ track, box, probabilities }) => [track, box.x1, probabilities.happy]));
      }
      const doubtful = tracker.follow([{ ...face(600, 1), score: 0.6 }], 2.0).length;
      return { seen, doubtful, again: tracker.follow([{ ...face(602, 1), score: 0.6 }], 2.1).map((one) => one.track) };
    }"""
    result = visit.page.evaluate(script)
    assert all([track for track, _, _ in faces] == [1, 2] for faces in result["seen"])
    assert [faces[0][1] for faces in result["seen"]] == [20 + 15 * step for step in range(20)]
    shares = [faces[1][2] for faces in result["seen"]]
    assert shares[9] == 1
    assert shares[15] == pytest.approx(math.exp(-0.6 / 0.5), abs=1e-6)
    assert (result["doubtful"], result["again"]) == (0, [3])
    visit.context.close()
