"""The network as it is trained: one compiled graph from uint8 images and labels to the loss.

Everything between the pixels in memory and the loss is part of it: augmentation, mixup, what a teacher says of the same
view, the network in its fastest form. Since images and labels change together, labels are an input like the images, and
the graph gives both the network's probabilities and the targets that they are to meet, side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from mien import backend, litert
from mien.augmentation import TrainingSize, augmentation_layers, degradation_layers, seed_of
from mien.config import AugmentationPolicy, TrainingConfig
from mien.epochs import FilledModel
from mien.errors import UsageError
from mien.modelspec import ModelSpec
from mien.networks import NETWORKS
from mien.preprocessing import SCALE
from mien.sharpness import SharpnessAware
from mien.weights import BUNDLED, find_model

TRAINING_SIZE = "training_size"
"""Name of the layer that shrinks training images."""


class Teaching(keras.layers.Layer):
    """Mix the mean answer of teachers to the same images into the targets, while training (Hinton et al. 2015).

    Teachers answer at temperature 1, whatever their files say. Teacher and student see one augmented view, which is
    what makes long distillation work (Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and
    consistent"). Teachers are neither trained nor saved with the student.
    """

    def __init__(self, teachers: Sequence[keras.Model], weight: float, **kwargs: Any) -> None:
        """Take the teachers.

        Args:
            teachers: from float images in [0, 1] to probabilities.
            weight: the teachers' share of the targets, 0 to 1.
            **kwargs: what Keras's layers take.
        """
        super().__init__(**kwargs)
        self._held = _Untracked(tuple(teachers))
        self.weight = weight

    def call(self, images: Any, targets: Any, training: bool = False) -> Any:
        """Images in [0, 1] and targets (n, classes) to new targets; the targets as they are outside training."""
        if not training:
            return targets
        answers = [ops.cast(teacher(images, training=False), targets.dtype) for teacher in self._held.teachers]
        answer = ops.stop_gradient(sum(answers) / len(answers))
        return self.weight * answer + (1 - self.weight) * targets

    def compute_output_shape(
        self,
        images_shape: tuple[int | None, ...],  # noqa: ARG002
        targets_shape: tuple[int | None, ...],
    ) -> tuple[int | None, ...]:
        """That of the targets."""
        return targets_shape


@dataclass(frozen=True)
class _Untracked:
    """Keeps models out of Keras's list of what a layer owns."""

    teachers: tuple[keras.Model, ...]


@dataclass(frozen=True)
class Trainee:
    """A network in training.

    Attributes:
        model: compiled: (uint8 images, float32 targets) to probabilities and final targets, (n, 2 * classes), and a
            column of weights where images of several classes are mixed that weigh differently.
        twin: the part of it that learns.
    """

    model: FilledModel
    twin: keras.Model


class MixedWeights(keras.layers.Layer):
    """What images weigh whose labels are mixed: the mean of their classes' weights, while training."""

    def __init__(self, weights: Sequence[float], **kwargs: Any) -> None:
        """Take a weight for each class."""
        super().__init__(**kwargs)
        self.weights_of = tuple(float(weight) for weight in weights)

    def call(self, labels: Any, training: bool = False) -> Any:
        """Labels, float (n, classes), to weights (n, 1): 1 outside training."""
        if not training:
            return ops.ones_like(labels[:, :1])
        return ops.sum(labels * ops.convert_to_tensor(self.weights_of, labels.dtype), axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """A number an image."""
        return (input_shape[0], 1)


def compile_for_training(
    model: keras.Model,
    config: TrainingConfig,
    optimizer: keras.optimizers.Optimizer,
    class_weights: Sequence[float] | None = None,
) -> Trainee:
    """Build the graph around a stock network and compile it.

    Args:
        model: the network.
        config: how to train.
        optimizer: what moves its weights.
        class_weights: what images weigh by what they show once they are mixed; None for nothing, or where batches
            come with weights.

    Raises:
        UsageError: a teacher does not fit the network, or the network cannot take growing images.
    """
    classes = model.output_shape[-1]
    faces = keras.Input(model.input_shape[1:], dtype="uint8", name="faces_uint8")
    labels = keras.Input((classes,), name="labels")
    images, targets = _vary(faces, labels, config)
    images = keras.layers.Rescaling(SCALE, dtype="float32")(images)
    weights = [] if class_weights is None else [MixedWeights(class_weights, dtype="float32")(targets)]
    if config.label_smoothing:
        targets = targets * (1 - config.label_smoothing) + config.label_smoothing / classes
    precision = backend.choose_precision(config.precision)
    if config.teachers and config.teacher_view == "same":
        teachers = [backend.training_twin(open_teacher(path, model), precision) for path in config.teachers]
        targets = Teaching(teachers, config.teacher_weight, dtype="float32", name="teaching")(images, targets)
    for layer in degradation_layers(config.augmentation, config.seed):
        images = layer(images)
    if config.progressive:
        _refuse_fixed_size(model)
        images = TrainingSize(config.size_in(0), dtype="float32", name=TRAINING_SIZE)(images)
    twin = backend.training_twin(model, precision, any_size=bool(config.progressive))
    outputs = keras.layers.Concatenate(dtype="float32")([twin(images), targets, *weights])
    trainee = _model([faces, labels], outputs, config.sam)
    accuracy = keras.metrics.MeanMetricWrapper(_mixed_hits if config.mixup else _hits, name="accuracy")
    accuracy._direction = "up"  # as Keras's own have it, for callbacks with monitor="val_accuracy"
    trainee.compile(
        optimizer=optimizer,
        loss=_CrossEntropy(),
        weighted_metrics=[accuracy],
        jit_compile=backend.compiles(),
        steps_per_execution=backend.steps_per_execution(),
    )
    trainee.optimizer.build(trainee.trainable_variables)
    trainee.network = lambda: _with_weights(model, twin)
    trainee.learn_from = lambda network: backend.copy_weights(network, twin)
    return Trainee(trainee, twin)


def _with_weights(model: keras.Model, twin: keras.Model) -> keras.Model:
    """The stock network as it is saved, with what its twin has learned."""
    backend.copy_weights(twin, model)
    return backend.in_float32(model)


def resize(model: keras.Model, size: int) -> None:
    """Have the training step compiled anew where training images change their size."""
    layer = model.get_layer(TRAINING_SIZE)
    if layer.size != size:
        layer.size = size
        model.make_train_function(force=True)


def open_teacher(path: str, student: keras.Model) -> keras.Model:
    """Open a model file, or a bundled model by its name, as a teacher.

    Raises:
        UsageError: there is no such file, or it does not take and give what the student does.
        ModelError: the file cannot be read.
    """
    from mien.export import load_model

    teacher, _ = load_model(path)
    if (teacher.input_shape, teacher.output_shape) != (student.input_shape, student.output_shape):
        raise UsageError(
            f"teachers: {path} takes {teacher.input_shape} and gives {teacher.output_shape}, but the student takes "
            f"{student.input_shape} and gives {student.output_shape}; they must be the same"
        )
    return teacher


def check_models(config: TrainingConfig, classes: Sequence[str] | None = None) -> None:
    """Refuse teachers that are not there or name other classes, and an `init` that is not there, before any work.

    Args:
        config: how to train.
        classes: the data's, in the order of the outputs; None where they are not known yet.

    Raises:
        UsageError: says which file, and what it should be.
        ModelError: a file cannot be read.
    """
    for path in config.teachers:
        spec = _read_spec(path, restorable=config.teacher_view == "same")
        if spec.input != config.input:
            raise UsageError(
                f"teachers: {path} takes {spec.input.shape}, but the student takes {config.input.shape}; they must be "
                "the same"
            )
        if classes is not None and spec.classes != tuple(classes):
            raise UsageError(
                f"teachers: {path} names {', '.join(spec.classes)}, but the data has {', '.join(classes)}; they must "
                "be the same, in the same order"
            )
    if config.init:
        _read_spec(config.init, restorable=True)


def _read_spec(path: str, *, restorable: bool) -> ModelSpec:
    """What a model file says of itself.

    Args:
        path: the file, or the name of a bundled model.
        restorable: whether a Keras network must be had from it.

    Raises:
        UsageError: there is no such file, or it is a ``.tflite``.
        ModelError: it cannot be read; or it must be restorable and is not, as int8 files and ensembles are not.
    """
    from mien.kerasfiles import read_spec
    from mien.restoring import refuse_unrestorable

    found = find_model(path)
    if not found.is_file():
        names = ", ".join(BUNDLED)
        raise UsageError(f"{path}: no such file; give the path of a .keras, .h5 or .onnx model, or a name: {names}")
    litert.refuse(found, "learned from or begun with")
    if found.suffix.lower() != ".onnx":
        return read_spec(found)
    if restorable:
        refuse_unrestorable(found)
    return ModelSpec.from_onnx(found)


def network_in(path: str) -> str | None:
    """The name of the network that a model file holds, where it is one of `mien.networks.NETWORKS`.

    Raises:
        UsageError: there is no such file.
        ModelError: it cannot be read.
    """
    name = _read_spec(path, restorable=True).network
    return name if name in NETWORKS else None


def _vary(faces: Any, labels: Any, config: TrainingConfig) -> tuple[Any, Any]:
    """Augment the images, and mix pairs of them with their labels."""
    images = keras.layers.Rescaling(1.0, dtype="float32")(faces)
    policy = config.augmentation
    if config.teachers and config.teacher_view == "stored":
        policy = AugmentationPolicy(flip=policy.flip)  # the stored views are varied already
    for layer in augmentation_layers(policy, config.seed):
        images = layer(images)
    if config.mixup:
        mixed = keras.layers.MixUp(config.mixup, seed=seed_of(config.seed), dtype="float32")(
            {"images": images, "labels": labels}
        )
        return mixed["images"], mixed["labels"]
    return images, labels


def _model(inputs: Any, outputs: Any, sam: float) -> FilledModel:
    return SharpnessAware(inputs, outputs, radius=sam) if sam else FilledModel(inputs, outputs)


class _CrossEntropy(keras.losses.Loss):
    """Cross-entropy of what the trainee gives, times its weights where it gives some; labels are for metrics."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        probabilities, targets, weights = _parts(y_true, y_pred)
        loss = keras.losses.categorical_crossentropy(targets, probabilities)
        return loss * weights[:, 0] if weights.shape[-1] else loss


def _parts(y_true: Any, y_pred: Any) -> list[Any]:
    """Probabilities, targets, and the weights, of which there may be none."""
    classes = y_true.shape[-1]
    return list(ops.split(y_pred, [classes, 2 * classes], axis=-1))


def _hits(y_true: Any, y_pred: Any) -> Any:
    """Whether the most probable class is the label's: float32 (n,)."""
    probabilities = _parts(y_true, y_pred)[0]
    return ops.cast(ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(probabilities, axis=-1)), "float32")


def _mixed_hits(y_true: Any, y_pred: Any) -> Any:
    """Whether the most probable class is that of the greatest target, as mixed images have two labels: float32 (n,)."""
    probabilities, targets, _ = _parts(y_true, y_pred)
    return ops.cast(ops.equal(ops.argmax(targets, axis=-1), ops.argmax(probabilities, axis=-1)), "float32")


def _refuse_fixed_size(model: keras.Model) -> None:
    """Growing images need a network whose weights do not depend on their size.

    Raises:
        UsageError: the network flattens its last map.
    """
    if any(isinstance(layer, keras.layers.Flatten) for layer in backend.all_layers(model)):
        raise UsageError(
            f"progressive: the network {model.name!r} flattens pictures of one size; choose a network that ends in "
            "a global average (small, vgg), or leave progressive empty"
        )


def as_inputs(
    images: NDArray[np.uint8], targets: NDArray[np.float32]
) -> tuple[tuple[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]:
    """What a trainee's `fit` takes for validation: uint8 images and one-hot targets, and the targets again."""
    return (images, targets), targets
