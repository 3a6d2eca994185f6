"""Trackers of metrics: a table, TensorBoard, the console. Imports neither torch nor TensorBoard."""

from runner.tracking.console import Console
from runner.tracking.csv_file import CsvTracker
from runner.tracking.tensorboard import TensorBoardTracker
from runner.tracking.trackers import Tracker, Trackers

__all__ = ["Console", "CsvTracker", "TensorBoardTracker", "Tracker", "Trackers"]
