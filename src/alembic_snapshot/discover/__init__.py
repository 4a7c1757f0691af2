"""The parts of a project without a table, read from its files: nothing is imported or run."""
