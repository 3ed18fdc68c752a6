"""LiteRT, formerly TensorFlow Lite: ``.tflite`` files for phones and small boards, written and run by TensorFlow.

The description is the member ``mien.json`` of a zip archive that stands behind the model in the same file, where
TensorFlow Lite's own metadata tools put what belongs to a model: interpreters do not see it, ``unzip`` does.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import ModelError


def write(model: Any, path: Path, member: str, description: str) -> None:
    """Convert a Keras model with TensorFlow.

    Args:
        model: a Keras model on the TensorFlow backend.
        path: the file to write; it must end in ``.tflite``.
        member: the description's name inside the file.
        description: text.
    """
    path.unlink(missing_ok=True)
    model.export(path, format="litert", verbose=False)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, description)


def run(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give a file's answers: float32 (n, size, size, channels) in [0, 1] to probabilities (n, classes).

    Raises:
        ModelError: TensorFlow Lite's own operators do not suffice for it.
    """
    import tensorflow as tf

    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # which would talk on stderr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that this interpreter moves to a package of its own
        content = path.read_bytes()  # it opens paths by itself, but not those of all systems and languages
        interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=resolver)
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(taken["index"], inputs.shape)
    try:
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], inputs)
        interpreter.invoke()
    except RuntimeError as error:
        raise ModelError(f"{path}: LiteRT cannot run this network ({error})") from error
    answers: NDArray[np.float32] = interpreter.get_tensor(given["index"])
    return answers
