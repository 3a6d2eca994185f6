"""`python -m runner TOOL`: one file a tool."""
