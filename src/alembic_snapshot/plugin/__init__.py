"""The pytest plugin: how a test comes by its clone, and what is said of it."""
