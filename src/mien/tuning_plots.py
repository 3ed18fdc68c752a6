"""Optuna's own pictures of a study, by its Matplotlib backend."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.files import replacing

if TYPE_CHECKING:
    import optuna

TARGET = "validation accuracy"

IMPORTANCE_TRIALS = 4
"""With fewer complete trials, what matters cannot be told."""


def plot_study(study: optuna.Study, folder: Path, names: Sequence[str]) -> list[Path]:
    """Draw ``history.png``, ``slice.png`` and, from four complete trials on, ``importances.png``.

    Args:
        study: with at least one complete trial.
        folder: where the pictures go.
        names: what is varied, in the order of the panels.

    Returns:
        The files.
    """
    import optuna
    from matplotlib import rc_context

    with warnings.catch_warnings(), rc_context():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)  # Matplotlib's, of panels whose trials all have one value
        from optuna.visualization import matplotlib as plots

        complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
        present = [name for name in names if any(name in trial.params for trial in complete)]
        files = [_save(plots.plot_optimization_history(study, target_name=TARGET), folder / "history.png", 8, 5)]
        axes = plots.plot_slice(study, params=present, target_name=TARGET)
        files.append(_save(axes, folder / "slice.png", max(5.0, 3.4 * len(present)), 4.5))
        if len(complete) >= IMPORTANCE_TRIALS and len({trial.value for trial in complete}) > 1:
            axes = plots.plot_param_importances(study, params=present, target_name=TARGET)
            files.append(_save(axes, folder / "importances.png", 8, 1.6 + 0.5 * len(present)))
    return files


def _save(axes: Any, path: Path, width: float, height: float) -> Path:
    """Write the figure of an Axes, or of an array of them, and close it."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure = np.ravel(axes)[0].figure
    figure.set_size_inches(width, height)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, bbox_inches="tight")
    plt.close(figure)
    return path
