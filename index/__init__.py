"""The ground floor: what a snapshot is on disk and in memory, and the decision that reads it."""
