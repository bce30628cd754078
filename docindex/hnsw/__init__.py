"""The local backend: one hnswlib graph a vector field, SQLite beside it, in one work directory."""
