"""`calibrate_model`: fit the temperature of an ``.onnx`` and write it into the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mien import litert
from mien.calibration import TemperatureFit, fit_temperature
from mien.classifier import Classifier
from mien.datasets import open_dataset
from mien.datasets.dataset import Dataset
from mien.datasets.exclusion import exclude as without
from mien.datasets.pixels import Progress
from mien.errors import DataError, UsageError, many
from mien.files import replacing
from mien.judging import judge_dataset
from mien.judging import known_classes as of_known_classes
from mien.kinship import learnt_from, may_have_learnt
from mien.modelspec import ModelSpec, copy_onnx, write_to_onnx
from mien.weights import find_model


def calibrate_model(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "val",
    out: str | Path | None = None,
    exclude: str | Path | None = None,
    known_classes: bool = False,
    skip_bad: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> tuple[TemperatureFit, Path]:
    """Fit a model's temperature, in place of any that it has, and write it into the file, whole or not at all.

    Args:
        model: an ``.onnx`` file, or the name of a bundled one, for which `out` must be given.
        data: what `mien.datasets.open_dataset` opens.
        split: pictures that the model did not learn from: val, public, private or test; train only where its file says
            that it learned from other data.
        out: the file to write; None for the model itself.
        exclude: a list of pictures to leave out; see `mien.datasets.exclusion`.
        known_classes: leave out pictures of classes that the model does not know.
        skip_bad: leave out files and rows that cannot be used.
        device: see `mien.open_model`.
        progress: called with how many pictures are read and how many there are.

    Returns:
        The fit, and the file that was written.

    Raises:
        UsageError: the split may be what the model learned from, or is not there, its pictures are all of one class,
            or the model has not the data's classes.
        DataError: something cannot be used, or the pictures do not say which temperature is best.
        ModelError: the file is no model.
    """
    if split == "all":
        raise UsageError("split: must be one split, so that others are left to judge by; received 'all'")
    path = find_model(model)
    target = Path(out) if out is not None else path
    if out is not None and target.suffix.lower() != ".onnx":
        raise UsageError(f"out: must end in .onnx, received {out}")
    if out is None and path != Path(model):
        raise UsageError(f"out: {model} is bundled with mien and stays as it is; name a file to write")
    litert.refuse(path, "calibrated")
    opened = Classifier(path, device=device)
    dataset = open_dataset(data)
    if split == "train":
        _refuse_learnt(opened.spec, dataset)
    if exclude is not None:
        dataset = without(dataset, exclude)
    if known_classes:
        dataset, _ = of_known_classes(dataset, split, opened)
    judgement = judge_dataset(opened, dataset, split=split, skip_bad=skip_bad, progress=progress)
    fit = fit_temperature(judgement.answers.uncalibrated, judgement.answers.labels)
    if fit.at_limit:
        raise DataError(
            f"temperature: the best would be {fit.temperature:g} or beyond, so "
            f"{many(fit.n, 'picture does', 'pictures do')} not tell"
            f" (is the model always right on {split!r}, or never?); nothing was written. Fit it on more pictures"
        )
    spec = replace(
        opened.spec,
        temperature=fit.temperature,
        trained_on={**opened.spec.trained_on, "calibration": {"split": split, "n": fit.n, "format": dataset.format}},
    )
    with replacing(target) as temporary:
        copy_onnx(path, temporary)
        write_to_onnx(temporary, spec)
    return fit, target


def _refuse_learnt(spec: ModelSpec, dataset: Dataset) -> None:
    """Folders that name no split count as Training too: a temperature is fitted on them where the model saw other data.

    Raises:
        UsageError: the model may have learned from these pictures.
    """
    if not may_have_learnt(spec.trained_on, dataset.format, dataset.counts()):
        return
    said = learnt_from(spec.trained_on)
    told = f"says that these may be of them ({said})" if said else "does not say that it learned from other pictures"
    raise UsageError(
        f"split: a temperature is never fitted on pictures that the model learned from, and its file {told}; take val "
        "or public. Pictures that it has not seen can stand in a folder val/, above the class folders"
    )
