"""Layers that `mien.backend.training_twin` trains with under TensorFlow: those of Keras, with faster kernels."""

from __future__ import annotations

from typing import Any

from keras import layers, ops


class FusedBatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` in one kernel where the backend is TensorFlow.

    Keras 3 computes moments and arithmetic apart there, which made a VGG-like network on a CPU half as fast. Weights,
    updates and results are those of the stock layer (to rounding; the running variance takes Bessel's correction, as in
    PyTorch and cuDNN).
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise over batch, rows and columns; what the kernel cannot do goes to the stock layer."""
        plain = (
            mask is None and self.scale and self.center and not (self.synchronized or getattr(self, "renorm", False))
        )
        if len(inputs.shape) != 4 or self.axis not in (-1, 3) or not plain:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        learns = bool(training) and self.trainable
        running = () if learns else (self._float32(self.moving_mean), self._float32(self.moving_variance))
        normalised, mean, variance, *_ = tf.compat.v1.nn.fused_batch_norm(
            ops.cast(inputs, self.compute_dtype),
            self._float32(self.gamma),
            self._float32(self.beta),
            *running,
            epsilon=self.epsilon,
            is_training=learns,
        )
        if learns:
            self._follow(self.moving_mean, mean)
            self._follow(self.moving_variance, variance)
        return normalised

    def _follow(self, running: Any, batch: Any) -> None:
        """Move a running statistic towards the batch's."""
        running.assign(running * self.momentum + ops.cast(batch, running.dtype) * (1.0 - self.momentum))

    @staticmethod
    def _float32(variable: Any) -> Any:
        """The full-precision value: under a mixed policy Keras would hand out a bfloat16 cast."""
        return ops.convert_to_tensor(variable.value, dtype="float32")


class SmallMapConv2D(layers.Conv2D):
    """`keras.layers.Conv2D` whose filter gradient is taken as matrix products where that is faster.

    Weights and results are those of the stock layer, to rounding. For TensorFlow on a CPU in bfloat16, and layers
    without a bias: TensorFlow would sum its gradient in bfloat16 here.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The convolution; what is not 3x3 and of small maps goes to the stock layer."""
        usual = self.kernel_size == (3, 3) and self.padding == "same" and self.data_format == "channels_last"
        once = self.groups == 1 and self.strides == (1, 1) and self.dilation_rate == (1, 1)
        known = None not in inputs.shape[1:3]
        channels, width = kernel.shape[2:]
        if known and usual and once and products_are_faster(channels, width, max(inputs.shape[1:3])):
            return _convolved(inputs, kernel)
        return super().convolution_op(inputs, kernel)


def products_are_faster(channels: int, width: int, side: int) -> bool:
    """Whether `filter_products` is faster than what oneDNN does for 3x3 filters, in bfloat16 on a CPU with AMX.

    Measured by benchmarks/filters.py: oneDNN reaches 60 to 270 GFLOP/s on these shapes, a third to an eighth of its
    forward pass.
    """
    return side <= 8 or (side <= 12 and min(channels, width) >= 192)


def filter_products(maps: Any, upstream: Any) -> Any:
    """The filter gradient of a 3x3 convolution with zeros around: a matrix product for each place of the filter.

    Args:
        maps: what was convolved, TensorFlow's, (n, height, width, channels).
        upstream: the gradient of what came of it, (n, height, width, filters).

    Returns:
        (3, 3, channels, filters), the type of `maps`.
    """
    import tensorflow as tf

    _, height, width, channels = maps.shape
    padded = tf.pad(maps, [[0, 0], [1, 1], [1, 1], [0, 0]])
    flat = tf.reshape(upstream, (-1, upstream.shape[-1]))
    shifted = [tf.reshape(padded[:, y : y + height, x : x + width], (-1, channels)) for y in range(3) for x in range(3)]
    products = [tf.matmul(shift, flat, transpose_a=True) for shift in shifted]
    return tf.reshape(tf.stack(products), (3, 3, channels, upstream.shape[-1]))


def _convolved(maps: Any, kernel: Any) -> Any:
    """A 3x3 convolution whose filter gradient is `filter_products`."""
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(maps: Any, kernel: Any) -> Any:
        def back(upstream: Any) -> tuple[Any, Any]:
            to_maps = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(maps), filter=kernel, out_backprop=upstream, strides=[1, 1, 1, 1], padding="SAME"
            )
            return to_maps, filter_products(maps, upstream)

        return tf.nn.conv2d(maps, kernel, 1, "SAME"), back

    return convolve(maps, tf.convert_to_tensor(kernel))
