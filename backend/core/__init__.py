"""Agents, their governance, and the database that all of Atom shares."""
