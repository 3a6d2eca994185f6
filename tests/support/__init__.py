"""What the tests are made with: how they call the program, break it, and compare what it leaves."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
