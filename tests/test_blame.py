"""An error of people's own code is shown where their code begins."""

from runner.blame import from_own_line
from runner.text import printable


class Odd:
    """What cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no text")


def test_a_traceback_begins_in_peoples_own_code() -> None:
    try:
        printable(Odd())
    except ValueError as error:
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next  # without this test's own line
        begin = from_own_line(error).__traceback__
    assert begin is not None and begin.tb_frame.f_code.co_name == "__str__"


def test_an_error_of_ours_alone_keeps_its_whole_traceback() -> None:
    error = ValueError("raised nowhere")
    assert from_own_line(error) is error and error.__traceback__ is None
