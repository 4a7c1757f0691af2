"""The pytest plugin: how a test comes by its clone, and the engines that are pointed at it."""
