"""Every error that a user can meet, each one sentence: what was wrong, what was found, the way out.

    RunnerError
    ├── ConfigError            (ValueError)         a key, an option or an argument is wrong
    ├── TargetRefused          (ConfigError)        a `_target_` that may not be built
    ├── DataMissing            (FileNotFoundError)  a data set's files are missing or invalid
    ├── DeviceMissing          (RuntimeError)       the requested device is not on this machine
    ├── ClusterMissing         (ConnectionError)    no cluster answers, or none that could run a job
    ├── NameTaken              (FileExistsError)    the run directory is in use already
    ├── RunInUse               (BlockingIOError)    another process works in the run directory
    ├── NotWritable            (PermissionError)    the run directory cannot be written
    ├── LeadsElsewhere         (PermissionError)    a link in a run directory leads out of it
    ├── CheckpointError        (RuntimeError)
    │   ├── CheckpointMissing  (FileNotFoundError)  the file does not exist
    │   ├── CheckpointDamaged  (ValueError)         its bytes are not those that were written
    │   ├── CheckpointRefused  (ValueError)         intact, but never opened
    │   ├── CheckpointMismatch (KeyError)           intact, but not the state of this run
    │   └── Unsavable          (TypeError)          a state holds more than plain values
    ├── WorkerFailed           (ChildProcessError)  a data worker died, or hangs
    ├── ProcessFailed          (ChildProcessError)  another process of the run has ended, or hangs
    ├── RunFailed              (RuntimeError)       a run that Python has started failed
    ├── StopStands             (InterruptedError)   a restart of a job whose run was told to stop
    ├── SaveFailed             (OSError)            a checkpoint could not be written
    ├── DiskRefuses            (OSError)            another file could not be written
    └── NonFinite              (ArithmeticError)    a loss or a weight became NaN or infinite
        └── Spike              (ArithmeticError)    a loss is far above the recent ones

`exit_code` is what the process returns: 2 where the input is wrong and nothing ran, 1 where a run failed.
"""

from runner.exit_codes import FAILED, INTERRUPTED, WRONG


class RunnerError(Exception):
    """The root of all errors that are reported as one sentence, without a traceback."""

    exit_code = WRONG

    def __str__(self) -> str:
        """Return the message alone, without what a built-in parent class adds."""
        return str(self.args[0]) if self.args else type(self).__name__


class ConfigError(RunnerError, ValueError):
    """A key, an option or an argument is invalid."""


class TargetRefused(ConfigError):
    """A `_target_` is not a class for its role, or is not trusted."""


class DataMissing(RunnerError, FileNotFoundError):
    """The files of a data set are missing, incomplete or invalid."""


class DeviceMissing(RunnerError, RuntimeError):
    """The requested device is not on this machine."""


class ClusterMissing(RunnerError, ConnectionError):
    """No cluster answers, or the one that does can never run a job."""

    exit_code = FAILED


class NameTaken(RunnerError, FileExistsError):
    """The run directory exists and is not empty."""


class RunInUse(RunnerError, BlockingIOError):
    """Another process works in the run directory; nothing in it was touched."""


class NotWritable(RunnerError, PermissionError):
    """The run directory cannot be created or written."""


class LeadsElsewhere(RunnerError, PermissionError):
    """A path in a run directory is a link or not a regular file; nothing was read or written through it."""


class CheckpointError(RunnerError, RuntimeError):
    """A checkpoint is missing, damaged, refused, or does not fit: the classes below tell which."""


class CheckpointMissing(CheckpointError, FileNotFoundError):
    """There is no checkpoint at the path."""


class CheckpointDamaged(CheckpointError, ValueError):
    """The file is not, byte for byte, what was written."""


class CheckpointRefused(CheckpointError, ValueError):
    """The file may be intact, but it holds what is never opened: code, a foreign format, a newer version."""


class CheckpointMismatch(CheckpointError, KeyError):
    """The file is intact and belongs to another model, optimizer, data set or run."""


class Unsavable(CheckpointError, TypeError):
    """A state holds a value that is neither a tensor nor plain; the message names its key path."""

    exit_code = FAILED


class SaveFailed(RunnerError, OSError):
    """A checkpoint could not be written; every earlier one is untouched."""

    exit_code = FAILED


class DiskRefuses(RunnerError, OSError):
    """The disk refuses a write: it is full, over quota or read-only, or the file would be too large."""

    exit_code = FAILED


class WorkerFailed(RunnerError, ChildProcessError):
    """A process that loads data died, or delivered nothing in time."""

    exit_code = FAILED


class ProcessFailed(RunnerError, ChildProcessError):
    """Another process of the same run failed, has ended or hangs."""

    exit_code = FAILED


class RunFailed(RunnerError, RuntimeError):
    """A run that was started from Python failed."""

    exit_code = FAILED


class StopStands(RunnerError, InterruptedError):
    """The run was told to stop, and is restarted by torchrun, not by a user."""

    exit_code = INTERRUPTED


class NonFinite(RunnerError, ArithmeticError):
    """A training loss or a weight became NaN or infinite; it was not saved."""

    exit_code = FAILED


class Spike(NonFinite):
    """A training loss is far above the recent ones; its update was not made."""
