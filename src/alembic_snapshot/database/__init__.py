"""What a database is, wherever it is. Nothing in here knows a kind of database."""
