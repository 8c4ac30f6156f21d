"""Pictures with concept masks, for dissection: drawn scenes, the Broden layout, label-map folders, COCO instances;
and captioned ones without masks.
"""

from vlx.neuron_names.datasets.broden import BrodenData
from vlx.neuron_names.datasets.captions import CaptionedPhotos, CaptionedScenes
from vlx.neuron_names.datasets.coco import CocoData
from vlx.neuron_names.datasets.data import ConceptData, Filed, Labelled, Told
from vlx.neuron_names.datasets.folder import LabelledFolder
from vlx.neuron_names.datasets.opening import open_data
from vlx.neuron_names.datasets.scenes import SceneData

__all__ = [
    "BrodenData",
    "CaptionedPhotos",
    "CaptionedScenes",
    "CocoData",
    "ConceptData",
    "Filed",
    "Labelled",
    "LabelledFolder",
    "SceneData",
    "Told",
    "open_data",
]
