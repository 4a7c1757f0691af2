"""The key of a snapshot: layers and their digests, from reading files alone."""
