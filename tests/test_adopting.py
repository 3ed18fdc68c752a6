"""Graphs as other programs write them: each answers, once adopted, as NumPy does."""

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from mien.adopting import Intake, adopt_onnx
from mien.classifier import Classifier
from mien.cli import main
from mien.errors import ModelError, UsageError

CLASSES = ("calm", "glad", "cross")
WEIGHTS = np.array([[1.0, -1.0, 0.5], [0.25, 2.0, -1.5], [-0.75, 0.5, 1.25]], np.float32)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
NCHW, NHWC = "ReduceMean<axes = [2, 3], keepdims = 0>(x)", "ReduceMean<axes = [1, 2], keepdims = 0>(x)"
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)


def graph(
    path, taken="float[n, 16, 16, 3] x", mean=NHWC, *, before="", ends="p = Softmax<axis = 1>(z)", given="p", head=""
):
    """Write the softmax of the mean colour times `WEIGHTS`; `head` sets versions, `before` makes x."""
    head = head or '<ir_version: 8, opset_import: ["" : 17]>'
    values = ", ".join(map(str, WEIGHTS.ravel().tolist()))
    text = f"""{head} g ({taken}) => (float[n, 3] {given}) <float[3, 3] w = {{{values}}}>
        {{ {before}  m = {mean}  z = MatMul(m, w)  {ends} }}"""
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def expected(images=IMAGES, *, most=1, mean=(0.0,), std=(1.0,), bgr=False):
    pixels = (images / 255 * most - np.array(mean)) / np.array(std)
    powers = np.exp((pixels[..., ::-1] if bgr else pixels).mean((1, 2)) @ WEIGHTS)
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize(
    "how",
    [{}, IMAGENET, {"most": 255, "mean": (127.5,), "std": (127.5,)}, {"bgr": True, "most": 255, "std": (90, 60, 70)}],
    ids=["plain", "ImageNet", "Keras", "BGR"],
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_network_gets_its_pixels_as_it_wants_them(tmp_path, layout, how):
    taken, mean = ("float[n, 3, 16, 16] x", NCHW) if layout == "NCHW" else ("float[n, 16, 16, 3] x", NHWC)
    source = graph(tmp_path / "theirs.onnx", taken, mean, ends="", given="z")
    path = adopt_onnx(source, tmp_path / "ours.onnx", CLASSES, intake=Intake(**how), logits=True, crop_margin=0.2)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    model = Classifier(path)
    np.testing.assert_allclose(model.predict(IMAGES), expected(**how), atol=1e-5)
    assert (model.classes, model.spec.input.shape, model.spec.crop_margin) == (CLASSES, (16, 16, 3), 0.2)
    assert (model.spec.network, model.spec.parameters) == ("theirs", 9)


@pytest.mark.parametrize(
    ("taken", "before", "how"),
    [
        ("float16[n, 16, 16, 3] q", "x = Cast<to = 1>(q)", {}),
        (
            "uint8[n, 16, 16, 3] q",
            "c = Cast<to = 1>(q)  s = Constant<value = float {255}>()  x = Div(c, s)",
            {"most": 255},
        ),
    ],
    ids=["float16", "uint8"],
)
def test_networks_that_take_other_numbers(tmp_path, taken, before, how):
    source = graph(tmp_path / "theirs.onnx", taken, before=before)
    path = adopt_onnx(source, tmp_path / "ours.onnx", CLASSES, intake=Intake(**how))
    np.testing.assert_allclose(Classifier(path).predict(IMAGES), expected(), atol=1e-3 if "16[" in taken else 1e-5)


@pytest.mark.parametrize("version", [7, 12, 22])
def test_old_and_new_operators(tmp_path, version):
    head = f'<ir_version: {3 if version == 7 else 8}, opset_import: ["" : {version}]>'
    mean = NHWC if version < 18 else "ReduceMean<keepdims = 0>(x, axes)"
    before = "axes = Constant<value = int64[2] {1, 2}>()" if version >= 18 else ""
    source = graph(tmp_path / "theirs.onnx", mean=mean, before=before, head=head)
    if version == 7:  # whose weights are inputs too
        model = onnx.load(source)
        model.graph.input.append(onnx.helper.make_tensor_value_info("w", 1, [3, 3]))
        onnx.save(model, source)
    path = adopt_onnx(source, tmp_path / "ours.onnx", CLASSES)
    np.testing.assert_allclose(Classifier(path).predict(IMAGES), expected(), atol=1e-5)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("rows", ["1, 3", "1, -1", "-1, 3"])
def test_a_network_for_one_picture_takes_any_number(tmp_path, rows, stored):
    ends = f"s = Constant<value = int64[2] {{{rows}}}>()  r = Reshape(z, s)  p = Softmax<axis = 1>(r)"
    source = graph(tmp_path / "theirs.onnx", "float[1, 16, 16, 3] x", ends=ends)
    if stored:  # as some exporters write it
        model = onnx.load(source)
        (constant,) = (node for node in model.graph.node if node.op_type == "Constant")
        model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(constant.attribute[0].t), "s"))
        model.graph.node.remove(constant)
        onnx.save(model, source)
    path = adopt_onnx(source, tmp_path / "ours.onnx", CLASSES)
    np.testing.assert_allclose(Classifier(path).predict(IMAGES), expected(), atol=1e-5)


def test_pictures_that_a_network_mixes_are_told(tmp_path):
    ends = "a = ReduceMax<axes = [0], keepdims = 1>(z)  r = Sub(z, a)  b = Mul(r, z)  p = Softmax<axis = 1>(b)"
    source = graph(tmp_path / "theirs.onnx", "float[1, 16, 16, 3] x", ends=ends)
    with pytest.raises(ModelError, match=r"theirs\.onnx: answers a batch otherwise than each picture alone"):
        adopt_onnx(source, tmp_path / "ours.onnx", CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.onnx"]


def test_one_of_several_outputs_and_a_size_that_is_open(tmp_path):
    source = graph(tmp_path / "theirs.onnx", "float[n, h, w, 3] x", given="p, float[n, 3] m")
    with pytest.raises(UsageError, match=r"size: is required, as the graph takes pictures of any"):
        adopt_onnx(source, tmp_path / "ours.onnx", CLASSES, output="p")
    with pytest.raises(UsageError, match=r"output: is required, as .*theirs\.onnx has 2: p, m"):
        adopt_onnx(source, tmp_path / "ours.onnx", CLASSES, intake=Intake(size=16))
    with pytest.raises(UsageError, match="output: no such choice 'q'; choose from m, p"):
        adopt_onnx(source, tmp_path / "ours.onnx", CLASSES, intake=Intake(size=16), output="q")
    path = adopt_onnx(source, tmp_path / "ours.onnx", CLASSES, intake=Intake(size=16), output="p")
    np.testing.assert_allclose(Classifier(path).predict(IMAGES), expected(), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"taken": "float[n, 16, 16] x"}, "pictures of 4 dimensions"),
        ({"taken": "int64[n, 16, 16, 3] x"}, "in float32, float16 or uint8, takes INT64"),
        ({"taken": "float[n, 16, 16, 4] x"}, "none says 1 or 3 channels as NCHW or NHWC would"),
        ({"taken": "float[n, 16, 20, 3] x"}, "pictures must be square"),
        ({"taken": "float[n, 16, 16, 3] x, float[1] k"}, "must have one input, pictures; has 2: x, k"),
        ({"head": '<ir_version: 3, opset_import: ["" : 6]>'}, "operators 7 or newer, has 6"),
        ({"ends": "", "given": "z"}, r"not probabilities.*; where it gives logits, say so: --logits"),
    ],
)
def test_graphs_that_are_none_of_pictures(tmp_path, changes, told):
    source = graph(tmp_path / "theirs.onnx", **changes)
    with pytest.raises((UsageError, ModelError), match=told):
        adopt_onnx(source, tmp_path / "ours.onnx", CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.onnx"]


def test_bad_requests(tmp_path):
    source = graph(tmp_path / "theirs.onnx")
    with pytest.raises(UsageError, match=r"classes: must name the 3 outputs of .*theirs\.onnx, received 2 names"):
        adopt_onnx(source, tmp_path / "ours.onnx", ("a", "b"))
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        adopt_onnx(source, tmp_path / "ours.pb", CLASSES)
    with pytest.raises(UsageError, match="replace it with --force"):
        adopt_onnx(source, source, CLASSES)
    with pytest.raises(UsageError, match="no such file"):
        adopt_onnx(tmp_path / "none.onnx", tmp_path / "ours.onnx", CLASSES)
    ours = adopt_onnx(source, tmp_path / "ours.onnx", CLASSES)
    with pytest.raises(UsageError, match="says what it is already"):
        adopt_onnx(ours, tmp_path / "again.onnx", CLASSES)
    ours.unlink()
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match="cannot be read as an ONNX file"):
        adopt_onnx(tmp_path / "text.onnx", tmp_path / "ours.onnx", CLASSES)
    for wrong in ({"layout": "CHW"}, {"most": 2}, {"mean": (1, 2)}, {"std": (0,)}, {"std": (float("nan"),)}):
        with pytest.raises(UsageError):
            Intake(**wrong)


def test_the_command(tmp_path, capsys):
    source = graph(tmp_path / "theirs.onnx", "float[n, 3, 16, 16] x", NCHW, ends="", given="z")
    arguments = ["--classes", "calm, glad,cross", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
    with pytest.raises(SystemExit) as end:
        main(["adopt", str(source), *arguments, "--logits", "--out", str(tmp_path / "ours.onnx")])
    assert end.value.code == 0
    assert "ours.onnx" in capsys.readouterr().out
    np.testing.assert_allclose(Classifier(tmp_path / "ours.onnx").predict(IMAGES), expected(**IMAGENET), atol=1e-5)
    for option, value in (("--mean", "0.5;0.5"), ("--white", "2")):
        with pytest.raises(SystemExit) as end:
            main(["adopt", str(source), *arguments, option, value, "--out", str(tmp_path / "new.onnx")])
        assert end.value.code == 2


def test_who_brings_files_of_tensorflow_is_told_how_to_convert_them(tmp_path):
    (tmp_path / "theirs.tflite").write_bytes(b"rubbish")
    with pytest.raises(UsageError, match=r"is a model of LiteRT .*tf2onnx\.convert --tflite \S+\.tflite --output"):
        adopt_onnx(tmp_path / "theirs.tflite", tmp_path / "ours.onnx", CLASSES)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "saved_model.pb").write_bytes(b"rubbish")
    with pytest.raises(UsageError, match=r"is a SavedModel .*tf2onnx\.convert --saved-model \S+theirs --output"):
        adopt_onnx(tmp_path / "theirs", tmp_path / "ours.onnx", CLASSES)


def test_who_brings_a_file_of_pytorch_is_told_how_to_export_it(tmp_path):
    (tmp_path / "theirs.pth").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"torch\.onnx\.export"):
        adopt_onnx(tmp_path / "theirs.pth", tmp_path / "ours.onnx", CLASSES)


@pytest.mark.parametrize(
    ("head", "ends", "told"),
    [
        (
            '<ir_version: 8, opset_import: ["" : 99]>',
            "p = Softmax<axis = 1>(z)",
            r"\(ai\.onnx\) are of version 99.* to \d",
        ),
        (
            '<ir_version: 99, opset_import: ["" : 17]>',
            "p = Softmax<axis = 1>(z)",
            r"IR version is 99, .* up to \d+; exp",
        ),
        (
            '<ir_version: 8, opset_import: ["" : 17, "my.ops" : 1]>',
            "p = my.ops.Soft(z)",
            "no operator my.ops:Soft; export",
        ),
    ],
)
def test_what_the_runtime_does_not_know_is_told_in_a_line(tmp_path, head, ends, told):
    source = graph(tmp_path / "theirs.onnx", head=head, ends=ends)
    with pytest.raises(ModelError, match=told) as raised:
        adopt_onnx(source, tmp_path / "ours.onnx", CLASSES)
    assert "src" not in str(raised.value)
    assert not (tmp_path / "ours.onnx").exists()
    with pytest.raises(ModelError, match=told) as raised:  # of one that is described, every command says the same
        Classifier(source)
    assert "src" not in str(raised.value)
