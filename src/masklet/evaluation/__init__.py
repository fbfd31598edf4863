"""Measuring how well objects are segmented: trackers and sessions over annotated data."""
