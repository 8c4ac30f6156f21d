"""What is asked of a model besides a map: what a word owes to the picture, whether map and reasons are true."""

__all__ = [
    "asked",
    "because",
    "contrast",
    "grouping",
    "guided",
    "map_trials",
    "name_marks",
    "names_wish",
    "occlusion",
    "other_pictures",
    "owing",
    "probe",
    "question_words",
    "references",
    "registry",
    "unit_trials",
    "units_off",
    "wishes",
    "zero_maps",
]
