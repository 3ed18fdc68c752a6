"""The few things that differ between TensorFlow, JAX and PyTorch, and between machines.

Networks are written once, in stock float32 layers. `training_twin` gives the form in which a network is trained fastest
here; `copy_weights` brings what it learnt back into the stock one, which alone is saved. `spread` has it trained on all
devices: with JAX, `keras.distribution` puts variables on every device and cuts batches along their first axis, and the
compiled step is that of one device over the whole batch. Losses, metrics and batch norm are therefore those of the
whole batch, and numbers are those of one device to rounding.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from mien.errors import UsageError, many
from mien.fastlayers import FusedBatchNormalization, SmallMapConv2D
from mien.feeding import Split
from mien.hosts import current

BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")
"""Flags of x86 processors on which oneDNN multiplies bfloat16 in hardware."""


HALF_PRECISIONS = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
"""Keras's names of precisions of 16 bits."""

MANY_STEPS = 16
"""Steps in one call where Keras loops over them."""

CPU_INFO = Path("/proc/cpuinfo")
"""Where Linux tells them; other systems do not have it."""


def training_twin(model: keras.Model, precision: str, *, any_size: bool = False) -> keras.Model:
    """Rebuild a stock network for training: computing in `precision`, with layers that are faster under TensorFlow.

    Weights start as the model's and are copied, not shared. The last layer stays in float32, for an exact loss.
    `any_size` lets the twin take images of other sizes than the network's own.
    """
    last = model.layers[-1].name
    products = keras.backend.backend() == "tensorflow" and precision == "mixed_bfloat16" and not has_accelerator()

    def rebuild(layer: keras.Operation) -> keras.Operation:
        settings = layer.get_config()
        if not isinstance(layer, keras.Layer):  # an operation, as of x + y, which has no weights and no precision
            return type(layer).from_config(settings)
        settings["dtype"] = "float32" if layer.name == last else precision
        kind = type(layer)
        if kind is layers.BatchNormalization and keras.backend.backend() == "tensorflow":
            kind = FusedBatchNormalization
        if kind is layers.Conv2D and products and not layer.use_bias:  # whose sum loses digits behind custom_gradient
            kind = SmallMapConv2D
        return kind.from_config(settings)

    faces = keras.Input((None, None, model.input_shape[-1])) if any_size else None
    twin = keras.models.clone_model(model, input_tensors=faces, clone_function=rebuild)
    copy_weights(model, twin)
    return twin


def all_layers(model: keras.Layer) -> list[keras.Layer]:
    """The layers of a model, and of the models and layers within it, once each."""
    held = model.layers if isinstance(model, keras.Model) else model._layers  # such as a user's own layer holds
    within = [[*([] if isinstance(layer, keras.Model) else [layer]), *all_layers(layer)] for layer in held]
    return list({id(layer): layer for layers_ in within for layer in layers_}.values())


def in_float32(model: keras.Model) -> keras.Model:
    """A model as saved ones compute: itself, or where something in it computes in 16 bits, a copy in float32."""
    settings = keras.saving.serialize_keras_object(model)
    wanted = _with_float32(settings)
    if wanted == settings:
        return model
    kinds = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}  # the model and all within it
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # of layers that others make for themselves
    try:
        with keras.saving.custom_object_scope(kinds):
            copy = keras.saving.deserialize_keras_object(wanted)
    finally:
        keras.config.set_dtype_policy(before)
    copy_weights(model, copy)
    return copy


def _with_float32(settings: Any) -> Any:
    """Settings of layers with float32 in place of each precision of 16 bits."""
    if isinstance(settings, dict):
        return {key: _with_float32(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return type(settings)(map(_with_float32, settings))
    return "float32" if isinstance(settings, str) and settings in HALF_PRECISIONS else settings


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy all weights between twins, in order; both have the same."""
    set_weights(target, source.get_weights())


def set_weights(model: keras.Model, weights: Sequence[NDArray[Any]]) -> None:
    """Give a model weights, in its order, and have layers that were adapted to data (Normalization) work with them.

    Keras's own `set_weights` leaves those layers with what they computed of the weights before.
    """
    model.set_weights(weights)
    finalize_normalisations(model)


def finalize_normalisations(model: keras.Model) -> None:
    """Have the layers of a model that were adapted to data work with the mean and variance that they hold."""
    for layer in all_layers(model):
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()


def choose_precision(wanted: str) -> str:
    """The Keras dtype policy for a config's `precision`: ``auto`` looks at the machine."""
    if wanted != "auto":
        return wanted
    return "mixed_bfloat16" if has_accelerator() or cpu_has_bfloat16() else "float32"


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; False where it cannot be told."""
    if not CPU_INFO.is_file():
        return False
    flags = next((line for line in CPU_INFO.read_text().splitlines() if line.startswith("flags")), "").split()
    return any(flag in flags for flag in BFLOAT16_FLAGS)


def has_accelerator() -> bool:
    """Whether the backend sees a GPU or TPU."""
    return any(not name.lower().startswith("cpu") for name in device_names())


def device_names() -> list[str]:
    """The backend's devices as Keras names them: ``["cpu:0"]``."""
    if keras.backend.backend() == "torch":  # for which Keras has no list
        import torch

        cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        return cuda or (["mps:0"] if torch.backends.mps.is_available() else ["cpu:0"])
    return [str(name) for name in keras.distribution.list_devices()]


@contextmanager
def spread() -> Iterator[Split]:
    """Make networks for all devices of all hosts while it lasts, where there are several and Keras can (JAX).

    Raises:
        UsageError: hosts have different numbers of devices.
    """
    devices = training_devices()
    hosts = current()
    if len(devices) < 2:
        yield Split()
        return
    parallel = keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    with parallel.scope(), _same_draws() if hosts.count > 1 else nullcontext():
        yield Split(len(devices), hosts.index, hosts.count)


def devices_in_words() -> str:
    """A line about the devices that training uses; empty where there is one and it is used."""
    names, hosts = device_names(), current()
    if len(names) < 2:
        return ""
    if keras.backend.backend() != "jax":
        return (
            f"Training on one of {many(len(names), 'device')}: the backend {keras.backend.backend()} uses no more, "
            "KERAS_BACKEND=jax uses all"
        )
    where = f" of {hosts.count} hosts" if hosts.count > 1 else ""
    return f"Training on {many(len(names), 'device')}{where}, each batch split among them"


def lay_out(rows: NDArray[Any]) -> Any:
    """This host's rows of a filled batch as the whole batch over all devices; as they are on one device."""
    parallel = keras.distribution.distribution()
    if parallel is None:
        return rows
    import jax

    return jax.make_array_from_process_local_data(parallel.get_data_layout(rows.shape).backend_layout, rows)


@contextmanager
def apart() -> Iterator[None]:
    """Work on this host alone while it lasts: Keras then makes variables and values here, not on all devices."""
    parallel = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(parallel)


def training_devices() -> list[str]:
    """All devices of all hosts, those of a host together; one at most where the backend is not JAX.

    Raises:
        UsageError: hosts have different numbers of them.
    """
    if keras.backend.backend() != "jax":
        return []
    import jax

    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    counts = np.bincount([device.process_index for device in devices]).tolist()
    if len(set(counts)) > 1:
        raise UsageError(
            f"--hosts: every host must have the same number of devices, but they have {', '.join(map(str, counts))}; "
            "CUDA_VISIBLE_DEVICES chooses among them"
        )
    return [f"{device.platform}:{device.id}" for device in devices]


@contextmanager
def _same_draws() -> Iterator[None]:
    """Have every host draw the same first values: Keras takes seeds that nobody gave from Python's random numbers."""
    before = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(before)


def gradient(score: Callable[..., Any]) -> Callable[..., NDArray[np.float32]]:
    """The gradient of a scalar function by its first argument, as a function of the same arguments.

    Under TensorFlow it is a graph, which leaves out what nobody asked for. Without one, convolutions would also be
    derived by their kernels, in which TensorFlow 2.21 ends the process on CPUs, for kernels of 1x1 with strides of 2.

    Args:
        score: from tensors to a tensor without dimensions, in `keras.ops`; it changes no variable.

    Returns:
        From arrays, the first float32 of any shape, to float32 of that shape.
    """
    slope = _slope_of(score)

    def call(*arrays: NDArray[Any]) -> NDArray[np.float32]:
        tensors = [ops.convert_to_tensor(array) for array in arrays]
        return np.asarray(ops.convert_to_numpy(slope(*tensors)), np.float32)

    return call


def _slope_of(score: Callable[..., Any]) -> Callable[..., Any]:
    """`gradient` of tensors."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator,unused-ignore]
        def slope(point: Any, *others: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(point)
                value = score(point, *others)
            return tape.gradient(value, point, unconnected_gradients=tf.UnconnectedGradients.ZERO)

        # Called itself, it would warn of being traced, where several layers are read.
        return lambda *tensors: slope.get_concrete_function(*tensors)(*tensors)
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(score)
    import torch

    def torch_slope(point: Any, *others: Any) -> Any:
        with torch.enable_grad():
            point = point.detach().requires_grad_(True)
            value = score(point, *others)
            return torch.autograd.grad(value, point)[0] if value.requires_grad else torch.zeros_like(point)

    return torch_slope


def shares_cpu() -> bool:
    """Whether several devices are one CPU. JAX then hangs where steps that wait for each other take all its threads."""
    if keras.backend.backend() != "jax" or keras.distribution.distribution() is None:
        return False
    import jax

    return jax.default_backend() == "cpu"


def steps_per_execution() -> int:
    """How many steps one call of the compiled function runs: Python's share of a short step is large."""
    if shares_cpu() or scans():
        return 1
    return MANY_STEPS if keras.backend.backend() in ("tensorflow", "jax") else 1


def scans() -> bool:
    """Whether one call runs a loop of many steps on the device (`jax.lax.scan`): a CPU gains nothing by it."""
    return keras.backend.backend() == "jax" and keras.distribution.distribution() is None and has_accelerator()


def seconds_between_checkpoints() -> float:
    """How long a run may go unsaved: on an accelerator, an epoch can be over sooner than it is written down."""
    return 20.0 if has_accelerator() else 0.0


def compiles() -> bool:
    """Whether XLA compiles the step: it was slower for TensorFlow on a CPU, and JAX knows nothing else."""
    return keras.backend.backend() == "jax" or (keras.backend.backend() == "tensorflow" and has_accelerator())


def make_deterministic() -> None:
    """Ask the backend for results equal to the bit on equal hardware; for the rest of the process."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(mode=True)


def reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Set every random stream of a model (augmentation, dropout) to what (seed, epoch) says.

    Streams then depend on the epoch and not on what ran before it, so that a resumed run draws what an undisturbed one
    would have drawn. Within an epoch, Keras's own counters give each step its draw.
    """
    streams = [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]
    for index, state in enumerate(streams):
        word = np.random.SeedSequence((seed, epoch, index)).generate_state(1, np.uint32)[0]
        state.assign(np.array([word & 0x7FFFFFFF, 0], dtype=np.dtype(state.dtype)))
