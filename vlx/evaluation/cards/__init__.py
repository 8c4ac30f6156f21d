"""Model cards, made from measurements: ``python -m vlx.evaluation.card FOLDER``."""

__all__ = ["answer", "caption", "knowledge", "neighbours", "photo", "quality", "sheet"]
