"""What comes out of files reaches neither a terminal nor a table as a command."""

import pytest
from torch.utils.data import DataLoader

from runner.text import aligned, cell, error_line, first_line, one_line, printable, printable_lines


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "a\rb", "\x07", "\x9b31m", "\u202etxt.exe", "\udc80", "\x00", "a\nb", "a\tb"]
)
def test_no_control_character_is_printed(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() and "\\" in shown


def test_ordinary_text_stays_itself() -> None:
    assert printable("Zürich, ~/x=1 'a'") == "Zürich, ~/x=1 'a'"
    assert printable(7) == "7"


def test_lines_and_tabs_stay_and_nothing_else_does() -> None:
    assert printable_lines("a:\n\tb\x1b[0m\r\n") == "a:\n\tb\\x1b[0m\\r\n"


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A1", "+1+1", "-1+cmd", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_is_no_cell(text: str) -> None:
    assert not cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("text", ["-1", "+2.5", "-1e-05", "-.5", "0.1", "", "model=mlp", "a-b"])
def test_numbers_and_words_are_cells_as_they_are(text: str) -> None:
    assert cell(text) == text


def test_what_an_error_says_is_one_line() -> None:
    error = ValueError("\n a  b\n\tc\n")
    assert one_line(error) == "a b c" and one_line(error, 3) == "a b" and first_line(error) == "a b"
    assert error_line(error) == "ValueError: a b c" and error_line(error, 1) == "ValueError: a"
    assert first_line(ValueError()) == "" and error_line(ValueError()) == "ValueError"


def test_rows_are_aligned_by_columns_and_nothing_in_them_reaches_the_terminal() -> None:
    rows = [("name", "n"), ("a\x1b[2J", "10")]
    assert aligned(rows, right=[1]) == "name       n\na\\x1b[2J  10"
    assert aligned([("a", ""), ("bcd", "x")], between=" | ") == "a   |\nbcd | x"


def test_an_error_of_a_data_worker_is_the_one_that_it_met() -> None:
    def broken(sample: int) -> int:
        raise ValueError("a broken disk")

    with pytest.raises(ValueError) as caught:
        list(DataLoader([1], num_workers=1, collate_fn=broken))
    assert str(caught.value).startswith("Caught ") and error_line(caught.value) == "ValueError: a broken disk"
