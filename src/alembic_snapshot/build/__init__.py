"""Building a snapshot, as the parent of the builder process sees it."""
