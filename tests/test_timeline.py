"""Timelines: what was seen is averaged, what was not is a gap, and memory has a limit."""

import errno
import importlib.util

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.analysis import Analysis
from mien.colours import EXPRESSION_COLOURS
from mien.errors import DataError, MissingExtraError, UsageError
from mien.results import Box, Face, Prediction
from mien.timeline import Timeline, _clock, _shortened
from mien.tracks import MOST_ROWS, TrackHistory

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


@pytest.fixture(autouse=True)
def few_small_panels(monkeypatch):
    """Figures take most of the time."""
    monkeypatch.setattr("mien.timeline.MOST_PANELS", 3)
    monkeypatch.setattr("mien.timeline._DPI", 60)


def one_hot(index, classes=7):
    return np.eye(classes, dtype=np.float32)[index]


def history(times, values):
    track = TrackHistory(values.shape[1])
    for time, value in zip(times, values, strict=True):
        track.add(float(time), value)
    return track


def test_a_sample_is_the_average_of_its_frames():
    values = np.random.default_rng(0).dirichlet(np.ones(3), 60).astype(np.float32)
    sampled = history(np.arange(60) / 30, values).sampled(np.array([0.0, 0.5 - 1e-6, 1.0 - 1e-6, 2.0]))
    expected = [values[:15].mean(axis=0), values[15:30].mean(axis=0), values[30:].mean(axis=0)]
    assert sampled == pytest.approx(np.array(expected), abs=1e-6)


def test_a_frame_holds_until_the_next():
    values = np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float32)
    sampled = history([0.0, 0.1, 0.2], values).sampled(np.linspace(0, 0.4, 9))
    assert sampled[:, 0].tolist() == pytest.approx([1, 1, 0, 0, 0.5, 0.5, np.nan, np.nan], nan_ok=True)


def test_gaps_are_gaps_and_blinks_are_not():
    times = np.r_[np.arange(30), np.arange(35, 60), np.arange(120, 150)] / 30
    track = history(times, np.tile(one_hot(2), (len(times), 1)))
    sampled = track.sampled(np.arange(0, 5.0, 0.1))
    seen = ~np.isnan(sampled[:, 0])
    assert seen[:20].all()
    assert not seen[21:40].any()
    assert seen[40:].all()
    assert track.seconds == pytest.approx(3.0, abs=0.05)
    assert track.end == pytest.approx(5.0, abs=0.01)


def test_frames_that_come_seldom_are_no_gaps():
    sampled = history(np.arange(10) * 2.0, np.tile(one_hot(0), (10, 1))).sampled(np.linspace(0, 20, 101))
    assert not np.isnan(sampled).any()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_long_tracks_keep_their_averages_in_little_memory(seed, classes):
    rng = np.random.default_rng(seed)
    count = MOST_ROWS * 2 + int(rng.integers(MOST_ROWS))
    values = rng.dirichlet(np.ones(classes), count).astype(np.float32)
    track = history(np.arange(count) / 30, values)
    assert track._rows.shape[0] <= MOST_ROWS
    assert track.seconds == pytest.approx(count / 30, abs=0.1)
    whole = track.sampled(np.array([0.0, count / 30]))
    assert whole[0] == pytest.approx(values.mean(axis=0), abs=1e-4)
    fine = track.sampled(np.linspace(0, count / 30, 11))
    expected = [part.mean(axis=0) for part in np.array_split(values, 10)]
    assert fine == pytest.approx(np.array(expected), abs=0.03)


def test_gaps_survive_merging():
    times = np.concatenate([np.arange(i * 40, i * 40 + 30) for i in range(300)]) / 10
    track = history(times, np.tile(one_hot(1), (len(times), 1)))
    assert len(times) > 2 * MOST_ROWS
    seen = ~np.isnan(track.sampled(np.arange(0, 1200, 0.5))[:, 0])
    assert seen.mean() == pytest.approx(0.75, abs=0.05)


def test_even_frames_far_apart_fit_into_memory():
    times = np.cumsum(np.tile([0.01, 100.0], MOST_ROWS))
    assert history(times, np.tile(one_hot(0), (len(times), 1)))._rows.shape[0] <= MOST_ROWS


def test_time_that_stands_still_or_runs_back_is_no_harm():
    track = history([1.0, 1.0, 0.5, 2.0], np.tile(one_hot(0), (4, 1)))
    assert np.isfinite(track.seconds)
    assert track.sampled(np.array([0.9, 1.1])).shape == (1, 7)


def area(picture, name):
    """Share of a picture in a class's colour."""
    return (np.abs(picture.astype(int) - EXPRESSION_COLOURS[name]).max(axis=2) < 6).mean()


def saved(timeline, path):
    assert timeline.save(path)
    return cv2.imread(str(path))[:, :, ::-1]


def analysis(time, faces, source="clip.mp4"):
    built = [
        Face(Box(0, 0, 9, 9), 1.0, Prediction(dict(zip(CLASSES, row.tolist(), strict=True))), track_id=track)
        for track, row in faces
    ]
    return Analysis(tuple(built), np.zeros((9, 9, 3), np.uint8), source, 0, time)


def test_areas_show_the_shares(tmp_path):
    timeline = Timeline(CLASSES)
    for frame in range(90):
        timeline.add(analysis(frame / 30, [(1, 0.75 * one_hot(0) + 0.25 * one_hot(3))]))
    picture = saved(timeline, tmp_path / "t.png")
    assert area(picture, "angry") == pytest.approx(3 * area(picture, "happy"), rel=0.1)
    assert area(picture, "angry") > 0.2
    assert area(picture, "fear") < 0.01  # in the legend only


def test_gaps_stay_empty(tmp_path):
    whole, half = Timeline(CLASSES), Timeline(CLASSES)
    for frame in range(90):
        whole.add(analysis(frame / 30, [(1, one_hot(5))]))
        if frame < 22 or frame >= 67:
            half.add(analysis(frame / 30, [(1, one_hot(5))]))
    shares = [area(saved(timeline, tmp_path / "t.png"), "sad") for timeline in (whole, half)]
    assert shares[1] == pytest.approx(shares[0] / 2, rel=0.1)


def test_a_panel_is_as_long_as_its_video(tmp_path):
    long, short = Timeline(CLASSES), Timeline(CLASSES)
    for frame in range(60):
        if frame < 30:
            short.add(analysis(frame / 30, [(1, one_hot(5))]))
        long.add(analysis(frame / 30, [(1, one_hot(5))] if frame < 30 else []))
    shares = [area(saved(timeline, tmp_path / "t.png"), "sad") for timeline in (short, long)]
    assert shares[1] == pytest.approx(shares[0] / 2, rel=0.1)


def test_each_track_has_a_panel_and_the_rest_is_counted(tmp_path):
    heights = []
    for count in (1, 2, 3, 7):
        timeline = Timeline(CLASSES)
        for frame in range(6):
            timeline.add(analysis(frame / 30, [(track, one_hot(track % 7)) for track in range(1, count + 1)]))
        assert len(timeline) == count
        heights.append(saved(timeline, tmp_path / "t.png").shape[0])
    assert heights[0] < heights[1] < heights[2] == heights[3]


def test_those_seen_longest_are_shown(tmp_path):
    timeline = Timeline(CLASSES)
    for frame in range(40):
        long = [(track, one_hot(0)) for track in range(10, 13)]
        short = [(track, one_hot(5)) for track in range(1, 5)] if frame < 8 else []
        timeline.add(analysis(frame / 30, long + short))
    picture = saved(timeline, tmp_path / "t.png")
    assert area(picture, "angry") > 0.4
    assert area(picture, "sad") < 0.01


def test_tracks_of_one_number_in_two_videos_are_two(tmp_path):
    timeline = Timeline(CLASSES)
    for source in ("a.mp4", "b$x$.mp4"):
        for frame in range(3):
            timeline.add(analysis(frame / 3, [(1, one_hot(1))], source))
    assert len(timeline) == 2
    assert timeline.save(tmp_path / "t.svg")


def test_single_pictures_are_left_out_and_nothing_is_not_written(tmp_path):
    timeline = Timeline(CLASSES)
    timeline.add(analysis(None, [(1, one_hot(0))]))
    timeline.add(analysis(0.0, [(None, one_hot(0))]))
    timeline.add(analysis(0.1, []))
    assert not timeline.save(tmp_path / "t.png")
    assert not list(tmp_path.iterdir())


def test_one_frame_of_any_classes_is_enough(tmp_path):
    timeline = Timeline(["only"])
    timeline.add_row(None, 1, 0.0, np.ones(1, np.float32))
    assert timeline.save(tmp_path / "t.png")


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--timeline: must end in \.png, \.svg or \.pdf"):
        Timeline(CLASSES).save(tmp_path / "t.gif")


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    timeline = Timeline(CLASSES)
    timeline.add_row(None, 1, 0.0, one_hot(0))
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(DataError, match=r"t\.png: cannot be written \(No space left on device\)"):
        timeline.save(tmp_path / "t.png")
    assert not list(tmp_path.iterdir())


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_without_matplotlib_it_says_so_at_once(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"--timeline needs packages .* 'mien\[evaluate\]'"):
        Timeline(CLASSES)


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [(45, ["0 s", "10 s"]), (200, ["0:00", "0:30"]), (600, ["0:00", "2:00"]), (20_000, ["0:00", "1:00:00"])],
)
def test_labels_of_time_are_round(seconds, labels):
    timeline = Timeline(CLASSES)
    for time in range(0, seconds, 5):
        timeline.add_row("a.mp4", 1, float(time), one_hot(3))
    timeline.add_row("a.mp4", 1, float(seconds), one_hot(3))
    (axes,) = timeline._draw().axes
    shown = [axes.xaxis.get_major_formatter()(place, None) for place in axes.xaxis.get_majorticklocs() if place >= 0]
    assert shown[:2] == labels
    assert len(shown) <= 11


def test_clocks_and_names():
    assert [_clock(seconds) for seconds in (0, 125, 3600, 7325)] == ["0:00", "2:05", "1:00:00", "2:02:05"]
    assert _shortened("/a/b/clip.mp4") == "clip.mp4"
    assert _shortened("rtsp://camera/") == "camera"
    assert len(_shortened("x" * 300)) == 80
    assert _shortened("") == "video"
