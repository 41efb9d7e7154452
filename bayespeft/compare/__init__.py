"""Several methods, data sets and seeds: one file of results, one table with tests, plots.

Every run is written to the file of results as soon as it is done, and a run that is there with the same settings is
not done again.
"""

from bayespeft.compare.comparison import Comparison
from bayespeft.compare.entry import compare, compare_study
from bayespeft.compare.file import Execution
from bayespeft.compare.file import read as read_study
from bayespeft.compare.run import Failure, versions
from bayespeft.compare.data_set import DataSet, OtherData
from bayespeft.compare.study import Study
from bayespeft.compare.tuning import Tuning, held_out

__all__ = [
    "Comparison",
    "DataSet",
    "Execution",
    "Failure",
    "OtherData",
    "Study",
    "Tuning",
    "compare",
    "compare_study",
    "held_out",
    "read_study",
    "versions",
]
