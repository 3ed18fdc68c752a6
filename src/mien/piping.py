"""How batches reach TensorFlow: pipelines whose tuning is off, since tuned ones end late.

Keras gives TensorFlow every array and every `PyDataset` of one worker as a pipeline that tunes itself. In TensorFlow
2.21 what tunes it sleeps between looks for 10 ms, then 20, doubled up to a minute, and the end of a pass over the data
often waits for the end of that sleep: a pass then takes 0.6, 1.3, 2.6, 5.1, 10.2, 20.5, 41, 82 or more seconds, and
nothing in between. An epoch of 45 seconds took up to 82. With `options.autotune.enabled` off it takes what it takes
(`python benchmarks/passes.py`). Other backends take arrays and feeds as they are.
"""

from __future__ import annotations

from typing import Any

import keras
from numpy.typing import NDArray

AHEAD = 2
"""How many batches are made ready while a step runs."""


def piped(feed: keras.utils.PyDataset) -> Any:
    """A feed, as `fit` is to take it: each epoch begins with its first batch, read when the epoch begins.

    Feeds of several workers are left alone: Keras's own threads read those, and it switches the tuning off itself.
    """
    if keras.backend.backend() != "tensorflow" or feed.workers > 1:
        return feed
    import tensorflow as tf

    def batches() -> Any:
        return (feed[index] for index in range(feed.num_batches))

    kinds = tf.nest.map_structure(lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype), feed[0])
    pipeline = tf.data.Dataset.from_generator(batches, output_signature=kinds)
    return _untuned(pipeline.apply(tf.data.experimental.assert_cardinality(feed.num_batches)))


def sliced(arrays: Any, batch_size: int) -> dict[str, Any]:
    """Arrays of equal length, nested in tuples, as `fit` takes them to validate with.

    Args:
        arrays: ((images, targets), targets).
        batch_size: rows of each batch but the last.

    Returns:
        Keyword arguments of Keras's `fit`.
    """
    if keras.backend.backend() != "tensorflow":
        return {"validation_data": arrays, "validation_batch_size": batch_size}
    return {"validation_data": _slices(arrays, batch_size)}


def predict(model: keras.Model, images: NDArray[Any], batch_size: int) -> Any:
    """What `model.predict` gives, as soon as it is known."""
    if keras.backend.backend() != "tensorflow":
        return model.predict(images, batch_size=batch_size, verbose=0)
    return model.predict(_slices(images, batch_size), verbose=0)


def _slices(arrays: Any, batch_size: int) -> Any:
    import tensorflow as tf

    return _untuned(tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size))


def _untuned(pipeline: Any) -> Any:
    """Read ahead a fixed number of batches, and tune nothing."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return pipeline.prefetch(AHEAD).with_options(options)
