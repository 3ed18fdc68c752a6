"""mien: train, judge and run facial-expression classifiers.

The seed's words::

    x_train, y_train, x_test, y_test = mien.load_data("FER2013")
    model = mien.network()
    result = mien.fit(model, x_train, y_train, x_test, y_test, epochs=30)  # saves face_detection.h5
    mien.show_results(result)

Reading faces in anything::

    for face in mien.Analyzer().analyze("photo.jpg"):
        print(face.expression, face.confidence, face.box.xyxy)

Names, and modules such as ``mien.faces``, are loaded when they are first used: importing mien imports nothing heavy.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mien.labels import EXPRESSIONS

# TensorFlow reads this when it is imported. It has oneDNN's kernels on by itself only where the processor has AVX-512
# or AMX; with AVX2 alone they train several times as fast too (docs/training.md, Precision).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

if TYPE_CHECKING:
    # Modules that are there without an import of their own; any other is, too, once it is imported.
    # isort: off
    from mien import (
        adopting as adopting,
        adopting_keras as adopting_keras,
        analysis as analysis,
        assessing as assessing,
        batch as batch,
        calibration as calibration,
        cards as cards,
        comparison as comparison,
        config as config,
        corruptions as corruptions,
        coverage as coverage,
        datasets as datasets,
        degradation as degradation,
        errors as errors,
        evaluation as evaluation,
        explaining as explaining,
        explanations as explanations,
        export as export,
        faces as faces,
        faithfulness as faithfulness,
        files as files,
        images as images,
        judging as judging,
        labels as labels,
        materials as materials,
        mistakes as mistakes,
        modelfacts as modelfacts,
        modelspec as modelspec,
        outputs as outputs,
        preprocessing as preprocessing,
        provenance as provenance,
        recipes as recipes,
        report_facts as report_facts,
        report_page as report_page,
        reports as reports,
        results as results,
        server as server,
        sources as sources,
        spaces as spaces,
        teaching as teaching,
        tracking as tracking,
        tuning as tuning,
        views as views,
    )

    # isort: on
    from mien.analysis import Analysis
    from mien.analyzer import Analyzer, analyze
    from mien.classifier import Classifier, open_model
    from mien.config import AugmentationPolicy, TrainingConfig
    from mien.datasets import Dataset, Faces, LoadedData, load_data, open_dataset
    from mien.errors import DataError, MienError, MissingExtraError, ModelError, UsageError
    from mien.evaluation import Evaluation, evaluate
    from mien.export import export_model
    from mien.modelspec import ModelSpec
    from mien.networks import network
    from mien.preprocessing import InputSpec
    from mien.recipes import recipe
    from mien.reports import show_results
    from mien.results import Box, Face, Prediction
    from mien.training import TrainingResult, fit, resume, train

__version__ = "0.1.0.dev0"

_HOMES: dict[str, str] = {
    "Analysis": "analysis",
    "Analyzer": "analyzer",
    "AugmentationPolicy": "config",
    "Box": "results",
    "Classifier": "classifier",
    "DataError": "errors",
    "Dataset": "datasets",
    "Evaluation": "evaluation",
    "Face": "results",
    "Faces": "datasets",
    "InputSpec": "preprocessing",
    "LoadedData": "datasets",
    "MienError": "errors",
    "MissingExtraError": "errors",
    "ModelError": "errors",
    "ModelSpec": "modelspec",
    "Prediction": "results",
    "TrainingConfig": "config",
    "TrainingResult": "training",
    "UsageError": "errors",
    "analyze": "analyzer",
    "evaluate": "evaluation",
    "export_model": "export",
    "fit": "training",
    "load_data": "datasets",
    "network": "networks",
    "open_dataset": "datasets",
    "open_model": "classifier",
    "recipe": "recipes",
    "resume": "training",
    "show_results": "reports",
    "train": "training",
}
"""Public name to the module that defines it."""

__all__ = [
    "EXPRESSIONS",
    "Analysis",
    "Analyzer",
    "AugmentationPolicy",
    "Box",
    "Classifier",
    "DataError",
    "Dataset",
    "Evaluation",
    "Face",
    "Faces",
    "InputSpec",
    "LoadedData",
    "MienError",
    "MissingExtraError",
    "ModelError",
    "ModelSpec",
    "Prediction",
    "TrainingConfig",
    "TrainingResult",
    "UsageError",
    "__version__",
    "analyze",
    "evaluate",
    "export_model",
    "fit",
    "load_data",
    "network",
    "open_dataset",
    "open_model",
    "recipe",
    "resume",
    "show_results",
    "train",
]


if not TYPE_CHECKING:  # for which any name would be there, however misspelt

    def __getattr__(name: str) -> Any:
        from importlib.util import find_spec

        try:
            if name in _HOMES:
                value = getattr(import_module(f"mien.{_HOMES[name]}"), name)
            elif not name.startswith("_") and find_spec(f"mien.{name}"):
                value = import_module(f"mien.{name}")  # so that mien.faces.MTCNN needs no import of its own
            else:
                said = f"module 'mien' has no attribute {name!r}; it has {', '.join(__all__)}"
                raise AttributeError(said, name=name, obj=sys.modules[__name__])  # for Python's "Did you mean"
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("keras", "tensorflow", "sklearn", "absl"):
                raise
            from mien.errors import MissingExtraError

            raise MissingExtraError(f"mien.{name}", "train") from error
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
