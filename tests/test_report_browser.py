"""The report in a real browser: on a phone, in the dark, on paper, and without a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.report_page import write_report
from reporting import full_facts

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: chromium or google-chrome on the PATH")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def report(tmp_path_factory, patterns) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    return write_report(folder / "report.html", full_facts(folder, patterns))


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def show(browser, report: Path, width: int, scheme: str = "light"):
    """The page, what it asked for, and what the browser complained of."""
    page = browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme).new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(report.as_uri())
    return page, [url for url in asked if not url.startswith("data:")], complaints


@pytest.mark.parametrize("width", [320, 360, 1200])
def test_it_fits_the_screen_and_asks_for_nothing_else(browser, report, width):
    page, asked, complaints = show(browser, report, width)
    assert asked == [report.as_uri()]
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect().height))"
    )
    assert smallest >= 7


def test_light_and_dark_differ_in_paper_ink_and_drawings(browser, report):
    seen = {}
    for scheme in ("light", "dark"):
        page, _, _ = show(browser, report, 800, scheme)
        seen[scheme] = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
            " ...new Set([...document.querySelectorAll('svg text')].map(one => getComputedStyle(one).fill))]"
        )
    assert seen["light"][0] == "rgb(251, 250, 247)"
    assert seen["dark"][0] == "rgb(22, 22, 21)"
    assert all(len(one) == 3 and one[1] == one[2] for one in seen.values()), "letters of drawings are not in ink"
    assert all(light != dark for light, dark in zip(seen["light"], seen["dark"], strict=True))


def test_on_paper_it_is_black_on_white_without_links_to_sections(browser, report):
    page, _, _ = show(browser, report, 800, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.pdf(format="A4").startswith(b"%PDF-")
