"""Tables in, models and reports out: what `mercer fit` and `mercer predict` are made of."""

from mercer.tables.fit import fit_table
from mercer.tables.model import TableModel
from mercer.tables.options import FitOptions
from mercer.tables.read import read_table
from mercer.tables.write import write_folder, write_predictions

__all__ = ["FitOptions", "TableModel", "fit_table", "read_table", "write_folder", "write_predictions"]
