"""The page in a real browser: the webcam, which is Chromium's fake device showing a generated clip, and video files."""

import csv
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from clips import write_clip
from mien.datasets.scenes import scene_video
from page_browser import CAMERA, Visit, expect, needs_browser, opened_browser, png
from page_service import Service, face, serve_page

pytestmark = needs_browser


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A camera's pictures: JPEGs behind each other, as Chromium's fake device takes them."""
    scenes = scene_video(1, frames=12, fps=6, size_wh=(320, 240), faces=1)
    path = tmp_path_factory.mktemp("camera") / "clip.mjpeg"
    path.write_bytes(b"".join(cv2.imencode(".jpg", scene.image[:, :, ::-1])[1].tobytes() for scene in scenes))
    return path


@pytest.fixture(scope="module")
def browser(clip) -> Iterator:
    with opened_browser(*CAMERA, f"--use-file-for-fake-video-capture={clip}") as opened:
        yield opened


class Frames:
    """Answers frames: a face in the left quarter that turns from happy to sad; counts how many are in work at once."""

    def __init__(self):
        self.count = self.working = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, name: str, data: bytes) -> dict:
        with self._lock:
            self.count += 1
            self.working += 1
            self.most = max(self.most, self.working)
        time.sleep(0.03)
        height, width = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2]
        box = (0.05 * width, 0.3 * height, 0.25 * width, 0.6 * height)
        with self._lock:
            self.working -= 1
        shown = face(box, "happy" if self.count < 8 else "sad", 0.9)
        return {"source": name, "frame": 0, "time": None, "size_wh": [width, height], "faces": [shown]}


@pytest.fixture
def frames() -> Frames:
    return Frames()


@pytest.fixture
def service(frames) -> Iterator[Service]:
    with serve_page(Service(analyse=frames)) as running:
        yield running


def wait_until(condition, seconds: float = 8.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


REMEMBER_STREAM = """
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => (window.stream = await ask(wanted));
"""


def test_the_webcam_is_read_drawn_mirrored_followed_and_let_go(browser, service, frames):
    visit = Visit(browser, service, prepare=REMEMBER_STREAM)
    visit.page.click("#webcam")
    expect(visit.one("#webcam")).to_have_text("Stop webcam")
    wait_until(lambda: frames.count > 20)
    assert frames.most == 1, "more than one frame was in work at once"
    expect(visit.one("#timeline")).to_be_visible()
    expect(visit.one("#timeline-caption")).to_have_text("Face 1 over the last 30 seconds")
    expect(visit.one("#face-list label")).to_have_count(1)
    expect(visit.one("#stage video")).to_have_class("mirrored")
    script = """canvas => { const {width, height} = canvas;
      const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
      const drawn = [false, false];
      data.forEach((value, index) => { if (value) drawn[(index / 4) % width < width / 2 ? 0 : 1] = true; });
      return drawn; }"""
    assert visit.one("#stage canvas").evaluate(script) == [False, True], "boxes are not where the mirrored face is"
    visit.page.click("#webcam")
    expect(visit.one("#item-state")).to_have_text("Stopped, 1 face")
    assert visit.page.evaluate("window.stream.getTracks().map(track => track.readyState)") == ["ended"]
    stopped = frames.count
    rows = list(csv.DictReader(io.StringIO(visit.download("#save-csv").decode())))
    assert {row["track"] for row in rows} == {"1"}
    times = [float(row["time"]) for row in rows]
    assert times == sorted(times)
    shares = [float(row["happy"]) for row in rows]
    assert shares[0] == pytest.approx(0.9)
    assert any(0.2 < share < 0.8 for share in shares), "probabilities are averaged over time"
    assert shares[-1] < 0.2
    assert visit.download("#save-png").startswith(b"\x89PNG")
    assert frames.count <= stopped + 1
    assert visit.outside() == []
    assert visit.complaints == []
    visit.context.close()


def test_the_webcam_rests_while_a_picture_is_looked_at(browser, service, frames):
    visit = Visit(browser, service)
    visit.page.click("#webcam")
    wait_until(lambda: frames.count > 2)
    visit.add(png("a.png"))
    expect(visit.one("#item-name")).to_have_text("a.png")
    time.sleep(0.3)
    before = frames.count
    visit.page.click(".tile >> nth=0")
    expect(visit.one("#item-name")).to_have_text("Webcam")
    wait_until(lambda: frames.count > before + 2)
    visit.page.click("#clear")
    expect(visit.one("#webcam")).to_have_text("Start webcam")
    visit.context.close()


def test_a_tab_that_nobody_sees_reads_nothing(browser, service, frames):
    visit = Visit(browser, service)
    visit.page.click("#webcam")
    wait_until(lambda: frames.count > 2)
    hide = """value => {
      Object.defineProperty(document, "hidden", {value, configurable: true});
      document.dispatchEvent(new Event("visibilitychange")); }"""
    visit.page.evaluate(hide, True)
    time.sleep(0.3)
    before = frames.count
    time.sleep(0.4)
    assert frames.count == before
    visit.page.evaluate(hide, False)
    wait_until(lambda: frames.count > before + 2)
    visit.context.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [("NotAllowedError", "The browser did not allow the camera"), ("NotFoundError", "No camera was found")],
)
def test_a_camera_that_does_not_start_is_one_clear_sentence(browser, service, name, words):
    refuse = f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('', '{name}'); }};"
    visit = Visit(browser, service, prepare=refuse)
    visit.page.click("#webcam")
    expect(visit.one("[role=alert]")).to_contain_text(words)
    expect(visit.one("#webcam")).to_have_text("Start webcam")
    visit.page.click("[aria-label='Close this message']")
    expect(visit.one("[role=alert]")).to_be_empty()
    assert visit.complaints == []
    visit.context.close()


def test_a_video_is_played_and_read_as_it_plays(browser, service, frames, tmp_path):
    path = write_clip(tmp_path / "walk.webm", 45, codec="libvpx")
    visit = Visit(browser, service)
    visit.page.set_input_files("#files", str(path))
    expect(visit.one("#play")).to_have_text("Pause")
    expect(visit.one("#play")).to_have_text("Play")  # it has ended
    expect(visit.one("#item-state")).to_contain_text("Paused, 1 face")
    expect(visit.one("#timeline-caption")).to_have_text("Face 1 over the whole video")
    assert 3 <= frames.count <= 46
    results = json.loads(visit.download("#save-json"))["results"]
    assert [one["frame"] for one in results] == list(range(len(results)))
    assert results[0]["size_wh"] == [64, 48]
    assert all(0 <= one["time"] <= 1.6 for one in results)
    box = results[0]["faces"][0]["box"]
    assert (box["x1"], box["x2"]) == pytest.approx((3.2, 16), abs=0.1)
    # Winding back reads that part anew: no time stands there twice.
    visit.one("#position").fill("0.2")
    wait_until(lambda: float(visit.one("#stage video").evaluate("video => video.currentTime")) < 0.3)
    visit.page.click("#play")
    expect(visit.one("#play")).to_have_text("Play")
    again = [one["time"] for one in json.loads(visit.download("#save-json"))["results"]]
    assert again == sorted(set(again))
    assert visit.complaints == []
    visit.context.close()


def test_a_video_beside_others_is_played_too_and_its_timeline_fits_other_widths(browser, service, tmp_path):
    path = write_clip(tmp_path / "walk.webm", 20, codec="libvpx")
    visit = Visit(browser, service)
    visit.add(png("a.png"))
    visit.page.set_input_files("#files", str(path))
    expect(visit.one("#item-name")).to_have_text("walk.webm")
    expect(visit.one("#item-state")).to_contain_text("Paused, 1 face")  # it has ended
    canvas = visit.one("#timeline-canvas")
    wide = canvas.evaluate("canvas => canvas.width")
    visit.page.set_viewport_size({"width": 500, "height": 800})
    wait_until(lambda: canvas.evaluate("canvas => canvas.width") < wide)
    assert canvas.evaluate("canvas => canvas.width === canvas.clientWidth")
    visit.context.close()


def test_a_file_that_is_no_video_fails_alone(browser, service):
    visit = Visit(browser, service)
    broken = {"name": "broken.mp4", "mimeType": "video/mp4", "buffer": b"no video"}
    visit.page.set_input_files("#files", [broken, png("a.png")])
    expect(visit.one("#stage")).to_contain_text("This video could not be played")
    expect(visit.one(".tile .state")).to_have_text(["Failed", "1 face"])
    visit.context.close()


def test_with_reduced_motion_a_video_waits_to_be_played(browser, service, tmp_path):
    path = write_clip(tmp_path / "walk.webm", 10, codec="libvpx")
    visit = Visit(browser, service, reduced_motion="reduce")
    visit.page.set_input_files("#files", str(path))
    expect(visit.one("#item-state")).to_contain_text("Press Play")
    assert visit.one("#stage video").evaluate("video => video.paused")
    visit.context.close()
