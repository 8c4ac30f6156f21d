"""Can what vlx explains of a model be trusted? Every check springs a trap that is silent otherwise."""

__all__ = [
    "around",
    "axes",
    "checks",
    "company",
    "differences",
    "guests",
    "patch_probe",
    "result",
    "run",
    "stock",
    "trusting",
]
