import io

from rich.console import Console

from mien.progress import TrainingProgress


def run(console: Console) -> None:
    progress = TrainingProgress(console)
    progress.set_params({"epochs": 2, "steps": 3})
    progress.on_train_begin()
    for epoch in range(2):
        progress.on_epoch_begin(epoch)
        for batch in range(3):
            progress.on_train_batch_end(batch, {"loss": 1.5, "accuracy": 0.25})
        progress.on_epoch_end(epoch, {"loss": 1.25, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.625})
    progress.on_train_end()
    progress.close()


def test_a_line_for_each_epoch_where_there_is_no_terminal():
    stream = io.StringIO()
    run(Console(file=stream, width=60))
    assert stream.getvalue().splitlines() == [
        "epoch 1/2  loss 1.250  accuracy 50.0%  val_loss 1.000  val_accuracy 62.5%  0 s",
        "epoch 2/2  loss 1.250  accuracy 50.0%  val_loss 1.000  val_accuracy 62.5%  0 s",
    ]


def test_a_bar_with_numbers_on_a_terminal():
    stream = io.StringIO()
    run(Console(file=stream, width=100, force_terminal=True))
    shown = stream.getvalue()
    assert "loss 1.500  accuracy 25.0%" in shown
    assert "epoch 2/2" in shown
