"""What all tests of the library share."""

pytest_plugins = "pytester"
# Projects that tests run pytest in, and the tests that they run there.
collect_ignore = ["projects", "plugin/behaviours"]
