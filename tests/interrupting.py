"""Ctrl-C at a chosen moment of training."""

import keras


class Interrupt(keras.callbacks.Callback):
    """Raises KeyboardInterrupt in the middle of an epoch, counted from 0."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.wanted = epoch
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == self.wanted:
            raise KeyboardInterrupt
