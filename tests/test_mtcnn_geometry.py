"""Boxes, suppression, pyramids and graphs against plain references."""

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.faces import graphs
from mien.faces.boxes import areas, best_of_overlapping, distinct, moved, overlaps, ranks, squared
from mien.faces.pyramid import Pyramid, scales
from mien.faces.running import Networks

edges = st.integers(0, 40)


@st.composite
def scored_boxes(draw):
    """Up to 25 boxes of two pictures, no two scores alike."""
    n = draw(st.integers(0, 25))
    corners = np.array(draw(st.lists(st.tuples(edges, edges), min_size=n, max_size=n)), np.float32).reshape(-1, 2)
    sizes = st.tuples(st.integers(1, 30), st.integers(1, 30))
    sides = np.array(draw(st.lists(sizes, min_size=n, max_size=n)), np.float32).reshape(-1, 2)
    scores = np.array(draw(st.permutations(range(n))), np.float32) / 3 - 2
    groups = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), np.intp)
    return np.concatenate([corners, corners + sides], 1), scores, groups


def plain_overlap(a, b, of_smaller=False):
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    one, two = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (min(one, two) if of_smaller else one + two - shared)


def plain_suppression(boxes, scores, groups, threshold, of_smaller):
    kept = []
    for row in sorted(range(len(scores)), key=lambda i: -scores[i]):
        rivals = (other for other in kept if groups[other] == groups[row])
        if all(plain_overlap(boxes[row], boxes[other], of_smaller) <= threshold for other in rivals):
            kept.append(row)
    return kept


@given(scored_boxes(), st.sampled_from([0.3001, 0.5001, 0.7001]))
def test_suppression_is_the_greedy_one(scored, threshold):
    boxes, scores, groups = scored
    for suppress, of_smaller in ((best_of_overlapping, False), (distinct, True)):
        kept = suppress(boxes, scores, groups, threshold).tolist()
        assert sorted(kept) == sorted(plain_suppression(boxes, scores, groups, threshold, of_smaller))


@given(scored_boxes())
def test_overlaps_are_the_plain_ones(scored):
    boxes, _, _ = scored
    for of_smaller in (False, True):
        plain = [[plain_overlap(a, b, of_smaller) for b in boxes] for a in boxes]
        assert np.allclose(overlaps(boxes, boxes, of_smaller=of_smaller), np.reshape(plain, (len(boxes), len(boxes))))


@given(scored_boxes())
def test_squares_keep_the_centre_and_hold_the_box(scored):
    boxes, _, _ = scored
    squares = squared(boxes)
    sides = squares[:, 2:] - squares[:, :2]
    assert np.allclose(sides[:, 0], sides[:, 1], atol=1e-4)
    assert np.allclose(sides.max(1, initial=0), (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0), atol=1e-4)
    assert np.allclose(squares[:, :2] + squares[:, 2:], boxes[:, :2] + boxes[:, 2:], atol=1e-4)


@given(scored_boxes())
def test_ranks_count_the_better_ones_of_the_same_picture(scored):
    _, scores, groups = scored
    plain = [sum(scores[(groups == group)] > score) for score, group in zip(scores, groups, strict=True)]
    assert ranks(scores, groups).tolist() == plain


def test_offsets_are_counted_in_sides():
    box = np.float32([[10, 20, 30, 60]])
    assert moved(box, np.float32([[0.5, -0.25, 0.1, 0]])).tolist() == [[20, 10, 32, 60]]
    assert areas(np.float32([[0, 0, 3, 2], [5, 5, 1, 9]])).tolist() == [6, 0]


@given(st.integers(1, 400), st.integers(1, 400), st.floats(6, 60), st.floats(0.4, 0.9))
def test_scales_fit_the_window_and_end_where_it_no_longer_fits(height, width, smallest, factor):
    found = scales(height, width, smallest, factor)
    assert all(min(height, width) * scale >= 12 for scale in found)
    assert len(found) == 0 or min(height, width) * found[-1] * factor < 12
    assert found[:1] in ([], [12 / smallest])


@given(st.integers(12, 90), st.integers(12, 90), st.integers(1, 3))
def test_levels_of_a_slope_are_slopes(height, width, count):
    """A picture whose grey is its x: shrunk or cropped, grey still says where a pixel was."""
    ramp = np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None] * 2, (height, width, 3))
    pyramid = Pyramid([np.ascontiguousarray(ramp)] * count)
    level = pyramid.level(0.55)
    columns = level.images.shape[2]
    expected = ((np.arange(columns) + 0.5) / level.scale_xy[0] - 0.5) * 2
    assert np.abs(level.images[-1, 0, 1:-2, 0] - expected[1:-2]).max(initial=0) <= 2.5
    square = np.float32([[2, 1, 11, 10]])
    crop = pyramid.crops(square, np.array([count - 1]), 24)[0]
    inside = ((2 + (np.arange(24) + 0.5) * 9 / 24) - 0.5) * 2
    assert np.abs(crop[12, :, 0] - inside).max() <= 2


def test_crops_beyond_the_edge_continue_it_and_come_from_their_own_picture():
    pictures = [np.full((30, 30, 3), value, np.uint8) for value in (10, 200)]
    squares = np.float32([[-20, -20, 10, 10], [-20, 20, 20, 60], [20, 20, 400, 400], [5, 5, 8, 8]])
    crops = Pyramid(pictures).crops(squares, np.array([0, 0, 1, 1]), 24)
    assert [np.unique(crop).tolist() for crop in crops] == [[10], [10], [200], [200]]


@pytest.mark.parametrize("side", [24, 48])
def test_crowds_give_as_many_crops_as_there_are(side):
    picture = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    squares = np.float32([[3, 5, 40, 42], [10, 10, 58, 58]])
    pyramid = Pyramid([picture])
    many = pyramid.crops(np.tile(squares, (1000, 1)), np.zeros(2000, np.intp), side)
    np.testing.assert_array_equal(many, np.tile(pyramid.crops(squares, np.zeros(2, np.intp), side), (1000, 1, 1, 1)))


@pytest.mark.parametrize("shape", [(1, 300, 500), (1, 12, 12), (1, 13, 9000), (7, 200, 130), (300, 24, 24)])
def test_pieces_of_a_level_give_what_the_whole_gives(shape):
    level = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    whole = ort.InferenceSession(graphs.proposal_network(), providers=["CPUExecutionProvider"])
    expected = whole.run(None, {"pixels": level})[0]
    (cells,) = Networks("cpu", 2).propose([level])
    assert cells.shape == expected.shape == (shape[0], 5, (shape[1] - 10) // 2, (shape[2] - 10) // 2)
    assert np.allclose(cells, expected, atol=1e-4)


def plain_network(layers, x):
    """Layers one after another in float64, as the paper draws them; x is (rows, columns, channels)."""
    for kind, *values in layers:
        if kind == "conv":
            kernel, bias, slopes = values
            windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], (0, 1))
            y = np.einsum("abcij,ijco->abo", windows, kernel) + bias
            x = y if slopes is None else np.where(y > 0, y, slopes.ravel() * y)
        elif kind == "pool":
            size, end = values
            x = np.pad(x, ((0, end), (0, end), (0, 0)), constant_values=-np.inf)
            x = np.lib.stride_tricks.sliding_window_view(x, (size, size), (0, 1))[::2, ::2].max((3, 4))
        else:
            kernel, bias, slopes = values
            y = x.transpose(1, 0, 2).ravel() @ kernel + bias if x.ndim == 3 else x @ kernel + bias
            x = y if slopes is None else np.where(y > 0, y, slopes * y)
    return x


def run(graph, crop):
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": crop[None]})[0][0]


@pytest.mark.parametrize("seed", [0, 1])
def test_graphs_compute_what_the_paper_draws(seed):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (48, 48, 3), np.uint8)
    scaled = (picture.astype(np.float64) - 127.5) / 128
    w = graphs.load_weights("pnet")
    trunk = [("conv", *w[0:3]), ("pool", 2, 0), ("conv", *w[3:6]), ("conv", *w[6:9])]
    x = plain_network(trunk, scaled)
    expected = [plain_network([("conv", *w[i : i + 2], None)], x) for i in (9, 11)]
    expected = np.concatenate([expected[0], expected[1][..., 1:] - expected[1][..., :1]], 2)
    assert np.allclose(run(graphs.proposal_network(), picture).transpose(1, 2, 0), expected, atol=1e-4)
    w = graphs.load_weights("rnet")
    trunk = [
        ("conv", *w[0:3]),
        ("pool", 3, 1),
        ("conv", *w[3:6]),
        ("pool", 3, 0),
        ("conv", *w[6:9]),
        ("dense", *w[9:12]),
    ]
    x = plain_network(trunk, scaled[:24, :24])
    classes = x @ w[14] + w[15]
    expected = [*(x @ w[12] + w[13]), classes[1] - classes[0]]
    assert np.allclose(run(graphs.refinement_network(), picture[:24, :24]), expected, atol=1e-4)
    w = graphs.load_weights("onet")
    trunk = [("conv", *w[0:3]), ("pool", 3, 1), ("conv", *w[3:6]), ("pool", 3, 0), ("conv", *w[6:9]), ("pool", 2, 0)]
    x = plain_network([*trunk, ("conv", *w[9:12]), ("dense", *w[12:15])], scaled)
    classes = x @ w[19] + w[20]
    expected = [*(x @ w[15] + w[16]), classes[1] - classes[0], *(x @ w[17] + w[18])]
    assert np.allclose(run(graphs.output_network(), picture), expected, atol=1e-4)
