"""Frames of the user's own: their times and colours, tracked as a video's are."""

import cv2
import numpy as np
import pytest

from mien.analyzer import Analyzer
from mien.datasets.scenes import write_scene_video
from mien.errors import UsageError
from mien.own_frames import frames_of
from mien.sources import open_sources


def test_they_are_a_video() -> None:
    images = [np.full((6, 8, 3), (10, 20, 30), np.uint8), np.full((6, 8), 7, np.uint8)]
    first, second = frames_of(images, fps=4, name="screen", bgr=True)
    assert (first.index, first.time, second.index, second.time) == (0, 0.0, 1, 0.25)
    assert first.source == "screen"
    assert first.clip is second.clip
    assert first.clip is not None
    assert (first.clip.fps, first.clip.size_wh, first.clip.live) == (4.0, (8, 6), False)
    assert first.image[0, 0].tolist() == [30, 20, 10]
    assert second.image.shape == (6, 8, 3)


def test_live_ones_have_the_time_of_their_coming() -> None:
    frames = list(frames_of([np.zeros((4, 4), np.uint8)] * 3, live=True))
    assert frames[0].time == 0.0
    assert frames[0].clip is not None
    assert frames[0].clip.live
    assert all(frame.time is not None and frame.time < 5 for frame in frames)


def test_they_are_tracked_as_a_file_is(tmp_path) -> None:
    write_scene_video(tmp_path / "a.mp4", frames=8, size_wh=(320, 240), faces=1)
    analyzer = Analyzer(threads=1)
    with open_sources([tmp_path / "a.mp4"]) as opened:
        pictures = [cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR) for frame in opened]
    told = list(analyzer.stream(tmp_path / "a.mp4"))
    own = [faces for _, faces in analyzer.analyze_frames(frames_of(iter(pictures), fps=30, bgr=True))]
    assert len(own) == len(told) == 8
    assert [[(face.track_id, face.box) for face in faces] for faces in own] == [
        [(face.track_id, face.box) for face in faces] for faces in told
    ]
    assert any(own)


def test_other_things_are_told_how_to_be_given() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UsageError, match="images: must be a list of pictures, received ndarray"):
        frames_of(picture)
    with pytest.raises(UsageError, match=r"fps: must be above 0, received 0"):
        frames_of([picture], fps=0)
    with pytest.raises(UsageError, match=r"each must be a mien\.sources\.Frame, received ndarray; mien\.own_frames"):
        next(Analyzer(threads=1).analyze_frames([picture]))
