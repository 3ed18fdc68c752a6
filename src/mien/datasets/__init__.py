"""Readers of labelled faces: FER2013 as folders, CSV files or archives, any class-per-folder tree, tables of files."""

from mien.datasets.conversion import Converted, convert
from mien.datasets.dataset import Dataset, Faces
from mien.datasets.duplicates import holdout
from mien.datasets.opening import open_dataset
from mien.datasets.seed import LoadedData, load_data

__all__ = ["Converted", "Dataset", "Faces", "LoadedData", "convert", "holdout", "load_data", "open_dataset"]
