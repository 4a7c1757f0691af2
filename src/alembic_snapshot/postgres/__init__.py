"""PostgreSQL: the server of our own, and what is kept and cloned on a server."""
