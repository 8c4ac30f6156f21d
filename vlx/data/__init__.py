"""Add a data set once: for naming units, for measuring maps, and for folders of results.

>>> data = vlx.data.open_data("scenes:2000")
>>> data[0].texts
('a dotted purple butterfly and a checkered yellow car at night',)
"""

from vlx.data.broden import BrodenData
from vlx.data.captions import CaptionedPhotos, CaptionedScenes
from vlx.data.classes import ClassFolders
from vlx.data.coco import CocoData
from vlx.data.concepts import Concept, Labelled, Regions
from vlx.data.example import Ask, ConceptData, Data, Example, Filed, Told, Truth
from vlx.data.flickr import PhotographData
from vlx.data.folder import LabelledFolder
from vlx.data.human_maps import human_map
from vlx.data.imagenet import ImagenetData
from vlx.data.opening import KINDS, open_data
from vlx.data.plain import PictureFolder
from vlx.data.questions import EasyVqaData
from vlx.data.regions import RegionData
from vlx.data.scenes import SceneData
from vlx.data.voc import VocData
from vlx.data.vqa import VqaData
from vlx.data.vqa_answers import vqa_accuracy

__all__ = [
    "KINDS",
    "Ask",
    "BrodenData",
    "CaptionedPhotos",
    "CaptionedScenes",
    "ClassFolders",
    "CocoData",
    "Concept",
    "ConceptData",
    "Data",
    "EasyVqaData",
    "Example",
    "Filed",
    "ImagenetData",
    "Labelled",
    "LabelledFolder",
    "PhotographData",
    "PictureFolder",
    "RegionData",
    "Regions",
    "SceneData",
    "Told",
    "Truth",
    "VocData",
    "VqaData",
    "human_map",
    "open_data",
    "vqa_accuracy",
]
