"""The second backend: the same documents and calls on Milvus, embedded (Milvus Lite), on a server or on a cluster."""
