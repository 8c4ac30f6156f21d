"""Checks whether explanations of a model can be trusted, each for a mistake that nothing else would show."""

__all__ = [
    "around",
    "axes",
    "checks",
    "company",
    "differences",
    "guests",
    "patch_probe",
    "places",
    "result",
    "run",
    "sides",
    "stock",
    "trusting",
]
