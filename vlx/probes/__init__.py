"""What is asked of a model besides a map: what a word owes to the picture, whether map and reasons are true."""

__all__ = [
    "asked",
    "because",
    "contrast",
    "grouping",
    "map_trials",
    "name_marks",
    "occlusion",
    "other_pictures",
    "owing",
    "question_words",
    "references",
    "unit_trials",
    "units_off",
    "zero_maps",
]
