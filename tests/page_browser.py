"""Opens the page of `mien serve` in a real browser, for tests."""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from page_service import Service

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: chromium or google-chrome on the PATH")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]

expect = sync_api.expect
WIDE = {"width": 1280, "height": 800}


@contextmanager
def opened_browser(*flags: str) -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        yield browser
        browser.close()


class Visit:
    """The page, opened; what it asked for (`asked`) and what the browser complained of (`complaints`)."""

    def __init__(self, browser, service: Service, *, prepare: str = "", **options):
        self.service = service
        self.context = browser.new_context(**{"viewport": WIDE, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        if prepare:
            self.page.add_init_script(prepare)
        self.page.goto(service.address + "/")
        self.one("#place:not(:empty)").wait_for()

    def add(self, *files: dict | str) -> None:
        """Choose files, and wait until all is read: by `wait_for`, which looks more often than `expect`."""
        self.page.set_input_files("#files", list(files))
        self.one("#viewer").wait_for()
        self.one("#cancel").wait_for(state="hidden")

    def one(self, selector: str):
        return self.page.locator(selector)

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()

    def download(self, button: str) -> bytes:
        with self.page.expect_download() as waiting:
            self.page.click(button)
        return Path(waiting.value.path()).read_bytes()

    def outside(self) -> list[str]:
        """Requests to anything but the service."""
        return [url for url in self.asked if not url.startswith((self.service.address, "blob:", "data:"))]

    def posts(self) -> list[tuple[str, dict]]:
        """(Path with query, headers) of each picture that was sent."""
        return [(path, headers) for method, path, headers, _ in self.service.asked if method == "POST"]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")


def png(name: str, size: tuple[int, int] = (240, 160), colour: tuple[int, ...] = (120, 140, 160)) -> dict:
    """A picture of one colour, as playwright takes files."""
    data = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(data, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": data.getvalue()}


def bad(name: str = "bad.png") -> dict:
    return {"name": name, "mimeType": "image/png", "buffer": b"not a picture"}
