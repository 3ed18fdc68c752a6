"""Networks of two layers that learn, for tests in which it does not matter which network learns.

A training with one takes half of what one with the seed's network takes: fewer layers are traced, saved and converted.
Where a module of tests has `TINY` or `MEAN` among its names, these name them, as "seed" names the seed's.
"""

import keras
from keras import layers

TINY, MEAN = "tiny", "mean"


def tiny(faces: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """A convolution and a dense layer, which sees where something is."""
    return layers.Dense(classes, activation="softmax")(layers.Flatten()(_convolution(faces)))


def mean(faces: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """A convolution and a dense layer, for pictures of any size."""
    return layers.Dense(classes, activation="softmax")(layers.GlobalAveragePooling2D()(_convolution(faces)))


def _convolution(faces: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Conv2D(8, 5, strides=4, use_bias=False)(faces)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


BUILDERS = {TINY: tiny, MEAN: mean}
