"""Tables of names on disk: our own HDF5, and the formats that others publish."""
