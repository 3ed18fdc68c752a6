"""The inner loop: one network, one source of images, one folder of checkpoints. `mien.training` feeds it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mien import backend
from mien.averaging import IMAGES_SAVING, AveragedValidation, estimate_statistics
from mien.beginning import Start, blend
from mien.checkpoints import Checkpoints, Row, best_epoch
from mien.config import TrainingConfig
from mien.epochs import EpochFeed, FilledModel, StackedFeed, ValidationFeed
from mien.feeding import ONE_DEVICE, Source, Split, StreamSource, balancing_weights
from mien.files import write_text
from mien.hosts import current
from mien.piping import piped, sliced
from mien.trainee import Trainee, as_inputs, compile_for_training, resize

WARM_UP = 0.15
"""Share of all steps in which the cosine schedule first rises."""

VALIDATION_PIXELS = 256 * 48 * 48
"""Pixels of a batch while validating: 256 small images or a few large ones, so that memory does not grow with size."""


@dataclass(frozen=True)
class Learned:
    """What a run of the loop gave.

    Attributes:
        history: a row for each epoch.
        epoch: the epoch, from 1, whose weights the model now has; 0 where none was completed.
        interrupted: whether Ctrl-C ended it.
    """

    history: list[Row]
    epoch: int
    interrupted: bool


def learn(
    model: keras.Model,
    config: TrainingConfig,
    source: Source,
    validation: tuple[NDArray[np.uint8], NDArray[np.int64]] | None,
    folder: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    start: Start | None = None,
) -> Learned:
    """Train a stock network in place, from its newest checkpoint in `folder` where there is one.

    Args:
        model: float32 in [0, 1] (n, size, size, channels) to probabilities (n, classes); gets the learnt weights.
        config: how to train.
        source: the training images.
        validation: images uint8 (n, size, size, channels) and labels int64 (n,), or None.
        folder: where ``checkpoints/`` and ``history.csv`` are kept.
        callbacks: further Keras callbacks, such as a progress bar.
        start: what `mien.beginning.start_from` gave the network, where the config asks for a share of it.

    Returns:
        The history and which epoch was kept.
    """
    with backend.spread() as split:
        feed = make_feed(source, config, model.output_shape[-1], split)
        trainee, learned = _learn(model, config, feed, validation, folder, callbacks)
        if learned.epoch:
            feed.epoch = learned.epoch - 1
            _take_weights(trainee, model, config, feed, start)
    return learned


def _learn(
    model: keras.Model,
    config: TrainingConfig,
    feed: EpochFeed,
    validation: tuple[NDArray[np.uint8], NDArray[np.int64]] | None,
    folder: Path,
    callbacks: Sequence[keras.callbacks.Callback],
) -> tuple[Trainee, Learned]:
    """Train over the devices that the feed is split for; the trainee has the weights and optimizer of what was kept."""
    mixes = config.class_weights and config.mixup
    weights = balancing_weights(feed.source.labels, model.output_shape[-1]).tolist() if mixes else None
    trainee = compile_for_training(model, config, make_optimizer(config, feed.num_batches), weights)
    trainee.model.training_rows = feed.sizes
    checkpoints = Checkpoints(folder / "checkpoints")
    history = checkpoints.history()
    if history:
        checkpoints.restore(trainee.model, len(history))
    interrupted = False
    if not should_stop(history, config):
        interrupted = _fit(trainee, config, feed, validation, _Recorder(config, history, folder, feed), callbacks)
    history = checkpoints.history()  # after an interruption it may be shorter than what was trained
    if interrupted and history and current().leads:
        write_history(folder / "history.csv", history)
    if not history:
        return trainee, Learned(history, 0, interrupted)
    epoch = best_epoch(history) if config.keep == "best" else len(history)
    checkpoints.restore(trainee.model, epoch)
    return trainee, Learned(history, epoch, interrupted)


def make_feed(source: Source, config: TrainingConfig, classes: int, split: Split = ONE_DEVICE) -> EpochFeed:
    """The source in batches, each image weighed as the config says, but for mixed images: what they show is mixed."""
    weighs = config.class_weights and not config.mixup
    weights = balancing_weights(source.labels, classes) if weighs else np.ones(classes, np.float32)
    return EpochFeed(source, weights, batch_size=config.batch_size, seed=config.seed, split=split)


def make_optimizer(config: TrainingConfig, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer and its learning rate as a function of the step."""
    rate = learning_rate(config, steps)
    shared: dict[str, Any] = {"weight_decay": config.weight_decay or None}
    if config.ema:
        shared |= {"use_ema": True, "ema_momentum": config.ema}
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **shared)
    else:
        optimizer = keras.optimizers.Adam(rate, **shared)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if config.precision == "mixed_float16":  # whose small gradients would vanish
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def learning_rate(config: TrainingConfig, steps: int) -> Any:
    """The schedule of a config: a number, or a Keras schedule over the steps of the whole run."""
    if config.schedule == "inverse-time":
        return keras.optimizers.schedules.InverseTimeDecay(config.learning_rate, 1, config.decay)
    if config.schedule == "cosine":
        total = config.epochs * steps
        rise = max(1, round(total * WARM_UP))
        return keras.optimizers.schedules.CosineDecay(
            0.0, max(1, total - rise), warmup_target=config.learning_rate, warmup_steps=rise
        )
    return config.learning_rate


def looks(config: TrainingConfig) -> list[int]:
    """The epochs, from 1, after which validation is looked at: each `validate_every`-th, and the last."""
    every = range(config.validate_every, config.epochs + 1, config.validate_every)
    return sorted({*every, config.epochs})


def should_stop(history: list[Row], config: TrainingConfig) -> bool:
    """Whether training is over: all epochs done, or validation loss no better for `early_stopping` of them.

    It looks at nothing but the history, so a resumed run stops where an undisturbed one would.
    """
    if len(history) >= config.epochs:
        return True
    if not config.early_stopping or not history or "val_loss" not in history[-1]:
        return False
    losses = np.nan_to_num([row.get("val_loss", np.inf) for row in history], nan=np.inf, posinf=np.inf)
    return len(losses) - 1 - int(np.argmin(losses)) >= config.early_stopping


def write_history(path: Path, history: list[Row]) -> None:
    """Write ``history.csv``: a row for each epoch."""
    names = list(dict.fromkeys(name for row in history for name in row))
    lines = [",".join(names), *(",".join(_cell(row.get(name)) for name in names) for row in history)]
    write_text(path, "\n".join(lines) + "\n")


class _Recorder(keras.callbacks.Callback):
    """Before each epoch sets the random streams; after it writes the history, a checkpoint where due, and may stop."""

    def __init__(self, config: TrainingConfig, history: list[Row], folder: Path, feed: EpochFeed) -> None:
        super().__init__()
        self.config = config
        self.history = history
        self.folder = folder
        self.feed = feed
        self.started = 0.0
        self.saved = time.perf_counter()
        self.unsaved = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = time.perf_counter()
        self.feed.epoch = epoch
        backend.reseed(self.model, self.config.seed, epoch)
        if self.config.progressive:
            resize(self.model, self.config.size_in(epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        seconds = round(time.perf_counter() - self.started, 3)
        self.history.append({"epoch": epoch + 1, **values, "learning_rate": rate, "seconds": seconds})
        self.model.stop_training = self.model.stop_training or should_stop(self.history, self.config)
        self.unsaved = True
        if self._due():
            self.save()
        if current().leads:
            write_history(self.folder / "history.csv", self.history)

    def save(self) -> None:
        """Write the newest epoch down, unless it is."""
        if self.unsaved:
            Checkpoints(self.folder / "checkpoints").save(self.model, self.history)
            self.saved, self.unsaved = time.perf_counter(), False

    def _due(self) -> bool:
        """Whether this epoch is written down: all are where epochs are slow, and always the last and the best."""
        looked = self.config.keep == "best" and "val_accuracy" in self.history[-1]
        is_best = looked and best_epoch(self.history) == len(self.history)
        waited = time.perf_counter() - self.saved >= backend.seconds_between_checkpoints()
        return waited or is_best or self.model.stop_training


class _LastWord(keras.callbacks.Callback):
    """Behind all other callbacks: where one of them has ended the run, its last epoch is written down."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.model.stop_training:
            self.recorder.save()


def _fit(
    trainee: Trainee,
    config: TrainingConfig,
    feed: EpochFeed,
    validation: tuple[NDArray[np.uint8], NDArray[np.int64]] | None,
    recorder: _Recorder,
    callbacks: Iterable[keras.callbacks.Callback],
) -> bool:
    """Run Keras's loop from where the history ends; tells whether Ctrl-C ended it.

    Raises:
        KeyboardInterrupt: Ctrl-C ended it on one of several hosts, which cannot go on without each other.
    """
    first = len(recorder.history)
    feed.epoch = first
    averaging = [AveragedValidation(trainee.twin, feed)] if config.ema else []
    for averages in averaging:
        _ask_averages(trainee.model, averages)
    talk = logging.getLogger("tensorflow")
    talk.addFilter(_no_retracing)
    try:
        trainee.model.fit(
            _as_it_runs(trainee, feed),
            **_watching(trainee, config, feed, validation),
            initial_epoch=first,
            epochs=config.epochs,
            callbacks=[*averaging, recorder, *callbacks, _LastWord(recorder)],
            shuffle=False,
            verbose=0,
        )
    except KeyboardInterrupt:
        if current().count > 1:
            raise
        return True
    except Exception as error:  # Keras's tidying up fails where JAX was interrupted within a step, and hides it
        if current().count > 1 or not isinstance(error.__context__, KeyboardInterrupt):
            raise
        return True
    finally:
        talk.removeFilter(_no_retracing)
    return False


def _ask_averages(model: FilledModel, averages: AveragedValidation) -> None:
    """Have callbacks save and ask the network that is judged: that of averaged weights."""
    of_the_moment = model.network

    def averaged() -> keras.Model:
        with averages.in_place():
            return of_the_moment()

    model.network = averaged


def _no_retracing(record: logging.LogRecord) -> bool:
    """Leaves out what TensorFlow says of several trainings in one process: each has functions of its own to compile."""
    return "triggered tf.function retracing" not in record.getMessage()


def _as_it_runs(trainee: Trainee, feed: EpochFeed) -> Any:
    """The feed as the compiled function takes it: in stacks where one call can run many steps."""
    if not backend.scans() or feed.split.devices > 1:
        return piped(feed)
    if isinstance(feed.source, StreamSource):  # whose files are read while it trains
        trainee.model.steps_per_execution = backend.MANY_STEPS
        return feed
    trainee.model.stacked = True
    trainee.model.build_metrics(feed[0])
    return StackedFeed(feed)


def _watching(
    trainee: Trainee,
    config: TrainingConfig,
    feed: EpochFeed,
    validation: tuple[NDArray[np.uint8], NDArray[np.int64]] | None,
) -> dict[str, Any]:
    """What Keras's `fit` takes to validate with: arrays on one device, a feed where batches are split."""
    if validation is None:
        return {}
    batch_size = max(1, VALIDATION_PIXELS // config.input.size**2)
    inputs = as_inputs(validation[0], feed.targets[validation[1]])
    if feed.split.devices == 1:
        return {**sliced(inputs, batch_size), "validation_freq": looks(config)}
    held = ValidationFeed(*inputs[0], batch_size=batch_size, split=feed.split)
    trainee.model.validation_rows = held.sizes
    return {"validation_data": held, "validation_freq": looks(config)}


def _take_weights(
    trainee: Trainee, model: keras.Model, config: TrainingConfig, feed: EpochFeed, start: Start | None
) -> None:
    """Copy what was learnt into the stock network; where asked, averaged over steps and with what it began with."""
    if config.ema:
        trainee.model.optimizer.finalize_variable_values(trainee.model.trainable_variables)
    if config.init_share and start is not None:
        blend(trainee.twin, start, config.init_share)
    if config.ema or config.init_share:
        estimate_statistics(trainee.twin, feed, IMAGES_SAVING)
    backend.copy_weights(trainee.twin, model)


def _cell(value: float | None) -> str:
    """A CSV cell: whole numbers plain, others with all the digits that bring them back."""
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e9 else repr(float(value))
