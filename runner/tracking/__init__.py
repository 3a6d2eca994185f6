"""Where numbers go: a table, TensorBoard, the console. Neither torch nor TensorBoard is imported here."""

from runner.tracking.console import Console
from runner.tracking.csv_file import CsvTracker
from runner.tracking.tensorboard import TensorBoardTracker
from runner.tracking.trackers import Tracker, Trackers

__all__ = ["Console", "CsvTracker", "TensorBoardTracker", "Tracker", "Trackers"]
