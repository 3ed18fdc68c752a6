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
    from mien import (
        adopting as adopting,
    )
    from mien import (
        adopting_keras as adopting_keras,
    )
    from mien import (
        analysis as analysis,
    )
    from mien import (
        assessing as assessing,
    )
    from mien import (
        batch as batch,
    )
    from mien import (
        calibration as calibration,
    )
    from mien import (
        cards as cards,
    )
    from mien import (
        comparison as comparison,
    )
    from mien import (
        config as config,
    )
    from mien import (
        corruptions as corruptions,
    )
    from mien import (
        coverage as coverage,
    )
    from mien import (
        datasets as datasets,
    )
    from mien import (
        degradation as degradation,
    )
    from mien import (
        errors as errors,
    )
    from mien import (
        evaluation as evaluation,
    )
    from mien import (
        explaining as explaining,
    )
    from mien import (
        explanations as explanations,
    )
    from mien import (
        export as export,
    )
    from mien import (
        faces as faces,
    )
    from mien import (
        faithfulness as faithfulness,
    )
    from mien import (
        files as files,
    )
    from mien import (
        images as images,
    )
    from mien import (
        judging as judging,
    )
    from mien import (
        labels as labels,
    )
    from mien import (
        materials as materials,
    )
    from mien import (
        mistakes as mistakes,
    )
    from mien import (
        modelfacts as modelfacts,
    )
    from mien import (
        modelspec as modelspec,
    )
    from mien import (
        outputs as outputs,
    )
    from mien import (
        preprocessing as preprocessing,
    )
    from mien import (
        provenance as provenance,
    )
    from mien import (
        recipes as recipes,
    )
    from mien import (
        report_facts as report_facts,
    )
    from mien import (
        report_page as report_page,
    )
    from mien import (
        reports as reports,
    )
    from mien import (
        results as results,
    )
    from mien import (
        server as server,
    )
    from mien import (
        sources as sources,
    )
    from mien import (
        spaces as spaces,
    )
    from mien import (
        teaching as teaching,
    )
    from mien import (
        tracking as tracking,
    )
    from mien import (
        tuning as tuning,
    )
    from mien import (
        views as views,
    )
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
                raise AttributeError(
                    said, name=name, obj=sys.modules[__name__]
                )  # by which Python says what may be meant
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("keras", "tensorflow", "sklearn", "absl"):
                raise
            from mien.errors import MissingExtraError

            raise MissingExtraError(f"mien.{name}", "train") from error
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
