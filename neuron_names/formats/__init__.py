"""Tables of names on disk: our own HDF5, and the formats that others publish.

HDF5 keeps everything. `read` takes what Network Dissection, NetDissect-Lite, dissect, quick-netdissect, CLIP-Dissect,
MILAN, compositional explanations and INVERT write, and plain CSV and JSON; units count from 0 inside, whatever the
file does. Nothing is unpickled or evaluated. A format of one's own is a `Format`, given to `register`.
"""

from pathlib import Path

from vlx.errors import InputError, OutputError, in_own_words
from vlx.neuron_names.formats.hdf5 import load, save_hdf5
from vlx.neuron_names.formats.plain import save_csv, save_json
from vlx.neuron_names.formats.reading import FORMATS, read
from vlx.neuron_names.formats.registry import FileContent, Format, Source, register
from vlx.neuron_names.formats.rows import Entry
from vlx.neuron_names.table.names import NeuronNames

__all__ = ["FORMATS", "Entry", "FileContent", "Format", "Source", "load", "read", "register", "save"]


def save(names: NeuronNames, path: str | Path) -> Path:
    """Write to ``path``: .h5 with the tally, .csv and .json the names alone; the file is whole or not there at all.

    Raises InputError for another ending and for counts that contradict each other, OutputError where it cannot be put.
    """
    path = Path(path)
    writers = {".h5": save_hdf5, ".csv": save_csv, ".json": save_json}
    ending = path.suffix.lower()
    if ending not in writers:
        raise InputError(f"{path}: names are saved as {', '.join(writers)}, not {ending or 'without ending'}")
    with in_own_words(f"{path} cannot be written", OutputError):
        writers[ending](names, path)
    return path
