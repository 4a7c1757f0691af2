"""Snapshots by digest: kept, found, and found wanting."""
