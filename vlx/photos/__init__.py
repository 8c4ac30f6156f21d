"""Photographs: captioned ones on disk, and the embedded captioner that was trained on some."""
