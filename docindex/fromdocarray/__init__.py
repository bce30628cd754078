"""Reading what DocArray's `HnswDocumentIndex` has written, without DocArray."""
