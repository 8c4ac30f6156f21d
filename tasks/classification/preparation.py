"""`imagenet_prepare`: how ImageNet classifiers are shown pictures unless their authors say otherwise."""

from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

RESIZE, CROP = 256, 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def imagenet_prepare(image: Image.Image) -> Tensor:
    """PIL picture → float32 [3, 224, 224]: shorter side to 256, its centre, ImageNet's mean to 0 and deviation to 1."""
    resized = functional.resize(image.convert("RGB"), [RESIZE])
    pixels = functional.to_tensor(functional.center_crop(resized, [CROP]))
    normalised: Tensor = functional.normalize(pixels, MEAN, STD)
    return normalised
