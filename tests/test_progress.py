import io
from contextlib import suppress

from rich.console import Console

from mien.progress import TrainingProgress, shown


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


class Notebook(io.StringIO):
    """What Jupyter's kernel has for stdout: no terminal."""


def in_a_notebook(monkeypatch) -> Notebook:
    stream = Notebook()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    return stream


def as_seen(text: str) -> list[str]:
    """The lines that a notebook shows: what is written after a carriage return stands over what was there."""
    lines = []
    for line in text.split("\n"):
        seen = ""
        for part in line.split("\r"):
            seen = part + seen[len(part) :]
        lines.append(seen.rstrip())
    return lines


def test_a_notebook_gets_plain_lines_and_one_that_moves(monkeypatch):
    stream = in_a_notebook(monkeypatch)
    with shown(verbose=True) as show:
        (progress,) = show.callbacks
        show.reading(10, 20)
        show.reading(20, 20)
        show.say("Training on 3 images")
        progress.set_params({"epochs": 1, "steps": 4})
        progress.on_train_begin()
        progress.on_epoch_begin(0)
        for batch in (1, 7):  # as TensorFlow tells it that runs several steps in a call
            progress.on_train_batch_end(batch, {"loss": 1.5, "accuracy": 0.25})
        progress.on_epoch_end(0, {"loss": 1.25, "accuracy": 0.5})
    written = stream.getvalue()
    assert "reading 10 of 20" in written
    assert "epoch 1/1   50%  loss 1.500  accuracy 25.0%" in written
    assert written.count("1.500") == 1  # not each batch
    assert as_seen(written) == ["Training on 3 images", "epoch 1/1  loss 1.250  accuracy 50.0%  0 s", ""]


def test_an_interrupted_line_is_taken_away(monkeypatch):
    stream = in_a_notebook(monkeypatch)
    with suppress(KeyboardInterrupt), shown(verbose=True) as show:
        show.callbacks[0].line.write("epoch 1/9   50%")
        raise KeyboardInterrupt
    assert as_seen(stream.getvalue()) == [""]


def test_silence(capsys):
    with shown(verbose=False) as show:
        show.say("Training")
    assert (show.callbacks, show.reading) == ([], None)
    assert capsys.readouterr() == ("", "")
