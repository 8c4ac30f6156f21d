"""Image classifiers: the adapter for any ``nn.Module``, and torchvision's models by name."""

from vlx.tasks.classification.classifier import Classifier

__all__ = ["Classifier"]
