"""Pictures with concept masks, for dissection: drawn scenes, the Broden layout, label-map folders, COCO instances;
and captioned ones without masks.
"""

from vlx.data.broden import BrodenData
from vlx.data.captions import CaptionedPhotos, CaptionedScenes
from vlx.data.coco import CocoData
from vlx.data.concepts import Labelled
from vlx.data.example import ConceptData, Filed, Told
from vlx.data.folder import LabelledFolder
from vlx.data.opening import open_data
from vlx.data.scenes import SceneData

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
