"""Sharpness-aware minimisation: each step follows the gradient found at the worst point near the weights.

Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021. A step costs twice as
much.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import ops

from mien.epochs import FilledModel
from mien.errors import UsageError

_TINY = 1e-12


class SharpnessAware(FilledModel):
    """A Keras model that is trained by SAM, under TensorFlow or JAX.

    Both gradients of a step see one augmented batch with one dropout mask; the running means of batch norm follow the
    second pass alone.
    """

    def __init__(self, *args: Any, radius: float = 0.05, **kwargs: Any) -> None:
        """Build the model.

        Args:
            *args: what `keras.Model` takes.
            radius: length of the step to the worst point, the paper's rho, above 0.
            **kwargs: what `keras.Model` takes.

        Raises:
            UsageError: the backend is another.
        """
        if keras.backend.backend() not in ("tensorflow", "jax"):
            raise UsageError(
                f"sam: works with the backends tensorflow and jax, received {keras.backend.backend()}; set "
                "KERAS_BACKEND, or sam to 0"
            )
        super().__init__(*args, **kwargs)
        self.radius = radius

    if keras.backend.backend() == "jax":

        def compute_loss_and_updates(
            self,
            trainable_variables: Any,
            non_trainable_variables: Any,
            *args: Any,
            training: bool = False,
            **kwargs: Any,
        ) -> Any:
            """Keras's own; in training at the worst point, where its gradient with respect to the weights is SAM's."""
            import jax

            whole = functools.partial(super().compute_loss_and_updates, training=training)
            if not training:
                return whole(trainable_variables, non_trainable_variables, *args, **kwargs)
            slopes = jax.grad(lambda weights: whole(weights, non_trainable_variables, *args, **kwargs)[0])(
                [jax.lax.stop_gradient(weight) for weight in trainable_variables]
            )
            steps = uphill(slopes, self.radius)
            worst = [
                weight + jax.lax.stop_gradient(step) for weight, step in zip(trainable_variables, steps, strict=True)
            ]
            return whole(worst, non_trainable_variables, *args, **kwargs)

    if keras.backend.backend() == "tensorflow":

        def train_step(self, data: Any) -> Any:  # type: ignore[override]
            """One step of SAM."""
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            weights = self.trainable_variables
            before = [ops.copy(variable.value) for variable in self.non_trainable_variables]
            _, slopes, _ = self._slopes(x, y, sample_weight)
            for variable, value in zip(self.non_trainable_variables, before, strict=True):
                variable.assign(value)
            steps = uphill(slopes, self.radius)
            start = [ops.copy(weight.value) for weight in weights]  # of which a step that overflowed must leave nothing
            for weight, step in zip(weights, steps, strict=True):
                weight.assign_add(step)
            loss, slopes, outputs = self._slopes(x, y, sample_weight)
            for weight, value in zip(weights, start, strict=True):
                weight.assign(value)
            self._loss_tracker.update_state(loss, sample_weight=ops.shape(y)[0])
            self.optimizer.apply_gradients(zip(slopes, weights, strict=True))
            return self.compute_metrics(x, y, outputs, sample_weight=sample_weight)

        def _slopes(self, x: Any, y: Any, sample_weight: Any) -> tuple[Any, list[Any], Any]:
            """The loss, its (scaled) gradients, and what the model gave."""
            import tensorflow as tf

            with tf.GradientTape() as tape:
                outputs = self(x, training=True)
                loss = self.compute_loss(x, y, outputs, sample_weight, training=True)
                scaled = self.optimizer.scale_loss(loss)
            return loss, tape.gradient(scaled, self.trainable_variables), outputs


def uphill(slopes: list[Any], radius: float) -> list[Any]:
    """The step of length `radius` along the gradient, over all weights together; none along one that overflowed.

    Args:
        slopes: gradients, one for each weight, of any shapes.
        radius: length of the step.
    """
    length = ops.sqrt(sum(ops.sum(ops.square(slope)) for slope in slopes))
    finite = ops.isfinite(length)
    return [ops.where(finite, slope * (radius / (length + _TINY)), 0.0) for slope in slopes]
