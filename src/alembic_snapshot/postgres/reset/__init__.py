"""Databases on a server that are put back after a test, while connections to them stay open."""
