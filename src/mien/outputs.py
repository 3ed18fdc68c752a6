"""What is written: rows of faces, annotated pictures and videos."""

from mien.annotated import Annotated
from mien.rowfiles import ROW_FORMATS, RowWriter, open_rows, recover_rows

__all__ = ["ROW_FORMATS", "Annotated", "RowWriter", "open_rows", "recover_rows"]
