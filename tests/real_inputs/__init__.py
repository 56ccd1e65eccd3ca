"""The table of real inputs: each row is covered by tests that are marked with its name."""
