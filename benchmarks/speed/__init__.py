"""docindex beside the floor and other embedded stores: the same work, in turn, at the same recall."""
