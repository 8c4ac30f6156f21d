"""Measurements: what vlx costs beside other libraries, how it grows, and what it finds with real weights."""
