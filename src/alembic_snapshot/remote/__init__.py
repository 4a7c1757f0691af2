"""One snapshot for many machines: signed records and packed files in an object store."""
