"""The page in a real browser, for everybody: keyboard, screen reader, phone, light and dark; axe has no complaint."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_browser import CAMERA, Visit, bad, expect, needs_browser, opened_browser, png
from page_service import STATIC, Service, serve_page
from services import listening

pytestmark = needs_browser

AXE = Path(os.environ.get("AXE_CORE", Path(__file__).parents[1] / "build/axe/node_modules/axe-core/axe.min.js"))
PHONE = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with opened_browser(*CAMERA) as opened:
        yield opened


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serve_page(Service()) as running:
        yield running


@pytest.fixture
def open_page(browser, service) -> Iterator:
    visits: list[Visit] = []

    def open_it(**options) -> Visit:
        visits.append(Visit(browser, service, **options))
        return visits[-1]

    yield open_it
    for visit in visits:
        visit.context.close()


def violations(visit: Visit) -> list[str]:
    """What axe finds wrong: rule, and the first element."""
    visit.page.evaluate(AXE.read_text())
    found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((one) => one.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]} {one['nodes'][0]['failureSummary']}" for one in found]


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe: npm install --prefix build/axe --no-save axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_complaint(open_page, scheme):
    visit = open_page(color_scheme=scheme)
    assert violations(visit) == []
    visit.add(png("3-friends.png"), png("0-wall.png"), bad())
    assert violations(visit) == []
    visit.page.click(".tile >> nth=2")
    expect(visit.one("#stage")).to_contain_text("could not be read")
    assert violations(visit) == []
    visit.page.click("#clear")
    visit.page.click("#webcam")
    expect(visit.one("#timeline")).to_be_visible()
    visit.page.evaluate("document.querySelector('#token-form').hidden = false")
    assert violations(visit) == []


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_nothing_is_wider_than_the_screen(open_page, width):
    visit = open_page(viewport={"width": width, "height": 700})
    assert visit.overflow() <= 0
    visit.add(
        png("9-a-picture-with-a-very-long-name-that-goes-on-and-on-and-on.png", (900, 200)),
        bad(),
        png("1-b.png", (40, 300)),
    )
    for number in range(3):
        visit.page.click(f".tile >> nth={number}")
        expect(visit.one(f".tile >> nth={number}")).to_have_attribute("aria-selected", "true")
        assert visit.overflow() <= 0
    visit.page.click("#webcam")
    expect(visit.one("#timeline")).to_be_visible()
    assert visit.overflow() <= 0
    stage = visit.one("#stage video").bounding_box()
    assert stage["width"] <= width


def test_all_is_done_by_keyboard(open_page):
    visit = open_page()
    # Whoever listens late may miss a file chooser: browsers are told to hand it over with the first listener.
    visit.page.on("filechooser", lambda chooser: None)
    keys = visit.page.keyboard
    keys.press("Tab")
    expect(visit.one(".skip")).to_be_focused()
    keys.press("Enter")
    keys.press("Tab")
    expect(visit.one("#choose")).to_be_focused()
    with visit.page.expect_file_chooser() as chooser:
        keys.press("Enter")
    chooser.value.set_files([png("3-friends.png"), png("1-b.png"), png("2-c.png")])
    expect(visit.one(".tile .state")).to_have_text(["3 faces", "1 face", "2 faces"])
    visit.one("#face-list input").first.focus()
    keys.press("ArrowDown")
    expect(visit.one("#bars h3")).to_have_text("Face 2")
    keys.press("ArrowDown")
    expect(visit.one("#bars h3")).to_have_text("Face 3")
    expect(visit.one("#face-list input:focus")).to_have_attribute("aria-label", "Face 3: sad, 50%")
    tab_to(visit, ".tile", backwards=True)
    keys.press("ArrowRight")
    expect(visit.one("#item-name")).to_have_text("1-b.png")
    keys.press("End")
    expect(visit.one("#item-name")).to_have_text("2-c.png")
    keys.press("Delete")
    expect(visit.one("#item-name")).to_have_text("1-b.png")
    expect(visit.one(".tile:focus")).to_contain_text("1-b.png")
    tab_to(visit, "#confidence")
    keys.press("End")
    expect(visit.one("#face-list label")).to_contain_text("uncertain")
    expect(visit.one("#table tbody tr")).to_have_count(4)  # which is drawn twice a second at most
    tab_to(visit, "#table button")
    keys.press("Enter")
    expect(visit.one("#item-name")).to_have_text("3-friends.png")
    assert visit.complaints == []


def tab_to(visit: Visit, selector: str, *, backwards: bool = False) -> None:
    """Press Tab until the element has the focus; what has the focus on the way can be seen to have it."""
    passed: list[str] = []
    for _ in range(40):
        visit.page.keyboard.press("Shift+Tab" if backwards else "Tab")
        seen = visit.page.evaluate("""() => {
          const one = document.activeElement;
          const shows = (each) => each && getComputedStyle(each).outlineStyle !== "none";
          return shows(one) || shows(one.closest("label"));
        }""")
        passed.append(visit.page.evaluate("document.activeElement.outerHTML.slice(0, 60)"))
        assert seen, passed
        if visit.page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} cannot be reached with Tab")


def press_when_shown(button) -> None:
    """Press Enter on a button: Playwright's own `press` does not wait until one that is hidden can have the focus."""
    expect(button).to_be_visible()
    button.press("Enter")


def test_controls_that_go_leave_the_focus_where_they_were(open_page):
    visit = open_page()
    visit.add(bad(), png("1-b.png"))
    press_when_shown(visit.one("#again-one"))
    expect(visit.one("#viewer")).to_be_focused()
    visit.page.keyboard.press("Tab")
    expect(visit.one("#again-one, #remove").and_(visit.one(":focus"))).to_have_count(1)
    visit.page.select_option("#tta", "flip")
    press_when_shown(visit.one("#again"))
    expect(visit.one(".settings")).to_be_focused()
    visit.page.set_input_files("#files", [png(f"slow-{number}.png") for number in range(4)])
    press_when_shown(visit.one("#cancel"))
    expect(visit.one("#viewer")).to_be_focused()


def test_the_tile_that_arrow_keys_lead_to_stays_in_sight(open_page):
    visit = open_page(viewport={"width": 1000, "height": 600})
    visit.add(png("1-wide.png", (900, 90)), png("1-high.png", (300, 900)), bad(), png("1-b.png", (900, 600)))
    visit.one(".tile").first.focus()
    for number in (1, 2, 3):
        visit.page.keyboard.press("ArrowRight")
        expect(visit.one(f".tile >> nth={number}")).to_be_focused()
        visit.page.wait_for_timeout(700)  # scrolling is smooth
        expect(visit.one(".tile:focus")).to_be_in_viewport(ratio=0.95)


def test_targets_are_large_enough_for_fingers(open_page):
    visit = open_page(**PHONE)
    visit.add(png("3-friends.png"), bad())
    visit.page.evaluate("document.querySelector('#token-form').hidden = false")
    script = """() => [...document.querySelectorAll("button, select, .face, .choice, .tile, #confidence, #token")]
      .filter((one) => one.checkVisibility())
      .map((one) => [one.id || one.className, one.getBoundingClientRect()])
      .filter(([, box]) => box.height < 43.5 || box.width < 43.5)
      .map(([name, box]) => `${name} ${box.width} x ${box.height}`)"""
    assert visit.page.evaluate(script) == []
    assert visit.overflow() <= 0


def test_the_description_of_the_service_fits_on_a_phone_and_lacks_nothing(browser, tmp_path):
    complaints: list[str] = []
    with listening(video_folder=tmp_path / "videos") as (host, port):
        page = browser.new_page(viewport={"width": 360, "height": 640})
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(f"http://{host}:{port}/docs")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        page.close()
    assert complaints == []


def test_screen_readers_are_told_little_and_what_matters(open_page):
    listen = """addEventListener("DOMContentLoaded", () => {
      window.said = [];
      new MutationObserver(() => {
        const text = document.getElementById("status").textContent;
        if (text) window.said.push(text);
      }).observe(document.getElementById("status"), {childList: true, characterData: true, subtree: true});
    });"""
    visit = open_page(prepare=listen)
    visit.add(*[png(f"1-{number}.png") for number in range(5)])
    expect(visit.one("#status")).to_have_text("5 pictures read, 5 faces found.")
    visit.page.click("#webcam")
    expect(visit.one("#timeline")).to_be_visible()
    visit.page.wait_for_timeout(700)
    visit.page.click("#webcam")
    stopped = re.compile(r"Webcam stopped, \d faces? seen\.")  # on a busy machine the face is lost between two frames
    expect(visit.one("#status")).to_have_text(stopped)
    *said, last = visit.page.evaluate("window.said")
    assert said == ["5 pictures read, 5 faces found.", "Webcam started."]
    assert stopped.fullmatch(last)


def test_light_and_dark_have_their_own_paper_and_ink(open_page):
    script = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    seen = [open_page(color_scheme=scheme).page.evaluate(script) for scheme in ("light", "dark")]
    assert seen == [["rgb(251, 250, 247)", "rgb(29, 28, 26)"], ["rgb(22, 22, 21)", "rgb(235, 232, 225)"]]


def test_without_javascript_the_page_says_so_and_offers_nothing(browser, service):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(service.address)
    expect(page.locator("noscript .notice")).to_be_visible()
    assert "This page needs JavaScript" in page.locator("noscript .notice").inner_text()
    for selector in ("#choose", "#webcam", "#tta", "#confidence"):
        expect(page.locator(selector)).to_be_hidden()
    context.close()


def test_opened_as_a_file_the_page_says_so_and_offers_nothing(browser):
    page = browser.new_page()
    page.goto((STATIC / "index.html").as_uri())
    expect(page.locator("#intake .notice")).to_contain_text("python -m http.server")
    for selector in ("#choose", "#webcam", "#tta", "#confidence"):
        expect(page.locator(selector)).to_be_hidden()
    page.close()


def test_every_script_is_fetched_at_once():
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'<link rel="modulepreload" href="page/(\w+\.js)">', page))
    assert named == {path.name for path in (STATIC / "page").glob("*.js")} - {"boot.js", "file.js"}


def test_the_page_says_what_becomes_of_pictures_and_what_it_is_not_for(open_page):
    text = open_page().one("main").inner_text()
    assert "Pictures are not kept, and nothing leaves this machine" in text
    assert "It does not know what a person feels" in text
    assert "Not for deciding about people" in text
