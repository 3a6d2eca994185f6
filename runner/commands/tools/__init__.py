"""`python -m runner TOOL`: one file per tool."""
