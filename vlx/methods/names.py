"""Names of methods, however they are spelled. No torch here: the command line reads this before anything is loaded."""

METHODS = ("gradcam", "hirescam", "gradcam++", "xgradcam", "layercam", "gradattention", "gradrollout", "occlusion")
SAME = {
    "gradcampp": "gradcam++",
    "gradientattention": "gradattention",
    "gradientxattention": "gradattention",
    "gradientrollout": "gradrollout",
    "rollout": "gradrollout",
    "hires": "hirescam",
}
_LEFT_OUT = dict.fromkeys(map(ord, "-_ ")) | {ord("×"): "x"}


def method_name(given: str) -> str:
    """The name of a method as `vlx.methods` has it, in small letters; an unknown one comes back as plain.

    >>> [method_name(name) for name in ("Grad-CAM", "GradCAM++", "grad_cam_plus_plus", "LayerCAM")]
    ['gradcam', 'gradcam++', 'gradcam++', 'layercam']
    """
    plain = str(given).strip().casefold().translate(_LEFT_OUT).replace("plusplus", "++")
    return SAME.get(plain, plain)
