"""What an alert is made of: evidence over time, then and now, slices, examples, what else changed.

Everything is read off the log that the judge reads, so it is as exact as the verdict, and is there
as far back as that log goes.
"""

from streamproc.explaining.drift import series_of
from streamproc.explaining.explained import explained
from streamproc.explaining.explanation import Cell, Example, Explanation, Point, Table

__all__ = ["Cell", "Example", "Explanation", "Point", "Table", "explained", "series_of"]
