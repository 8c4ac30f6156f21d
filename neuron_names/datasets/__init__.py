"""Pictures with concept masks, for dissection: drawn scenes, the Broden layout, label-map folders, COCO instances."""

from vlx.neuron_names.datasets.data import ConceptData, Labelled
from vlx.neuron_names.datasets.scenes import SceneData

__all__ = ["ConceptData", "Labelled", "SceneData"]
