"""What a project without a table has, read from its files: nothing of it is imported or run."""
