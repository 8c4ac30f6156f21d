"""Names of methods, however they are spelled. No torch here: the command line reads this before anything is loaded."""

METHODS = (
    "gradcam",
    "hirescam",
    "gradcam++",
    "xgradcam",
    "layercam",
    "gradattention",
    "gradrollout",
    "excitation",
    "c-mwp",
    "ablationcam",
    "scorecam",
    "gradient",
    "deconvolution",
    "guided",
    "guided-gradcam",
    "integrated-gradients",
    "smoothgrad",
    "occlusion",
    "lens",
    "lens-context",
)
ABLATIONS = (  # of Grad-CAM, in its paper: known by name, and in no list
    "gradcam-norelu",
    "gradcam-norelu-shifted",
    "gradcam-abs",
    "gradcam-max",
    "gradcam-guided",
    "gradcam-deconvolution",
)
UNLISTED = (*ABLATIONS, "deconvolution-gradcam")  # known by name, and in no list
SAME = {
    "gradcampp": "gradcam++",
    "gradientattention": "gradattention",
    "gradientxattention": "gradattention",
    "gradientrollout": "gradrollout",
    "rollout": "gradrollout",
    "hires": "hirescam",
    "contrastivemwp": "c-mwp",
    "excitationbackprop": "excitation",
    "excitationbp": "excitation",
    "saliency": "gradient",
    "vanillagradient": "gradient",
    "deconv": "deconvolution",
    "deconvnet": "deconvolution",
    "guidedbackprop": "guided",
    "guidedbackpropagation": "guided",
    "logitlens": "lens",
    "ig": "integrated-gradients",
    "integratedgradient": "integrated-gradients",
    "gradcamdeconv": "gradcam-deconvolution",
    "deconvgradcam": "deconvolution-gradcam",
}
AT = "@"  # between a method and the layer that it is at
_LEFT_OUT = dict.fromkeys(map(ord, "-_ ")) | {ord("×"): "x"}
_PLAIN = {name.translate(_LEFT_OUT): name for name in (*METHODS, *UNLISTED)}


def method_name(given: str) -> str:
    """The name of a method as `vlx.methods` has it, in small letters; an unknown one comes back as plain.

    The name of a layer behind an @ is left as it is: "Grad-CAM@layer3" is "gradcam@layer3".

    >>> [method_name(name) for name in ("Grad-CAM", "GradCAM++", "grad_cam_plus_plus", "Guided Grad-CAM")]
    ['gradcam', 'gradcam++', 'gradcam++', 'guided-gradcam']
    """
    method, at, layer = str(given).strip().partition(AT)
    plain = method.strip().casefold().translate(_LEFT_OUT).replace("plusplus", "++")
    return (SAME.get(plain) or _PLAIN.get(plain, plain)) + at + layer.strip()
