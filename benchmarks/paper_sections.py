"""The sections of Grad-CAM's paper that `benchmarks.paper` redoes, in its order, and what was published in each.

Published figures are those that ../shared/facts/gradcam.md has from the paper's text (P), from a published note on its
tables (N), from a reproduction (K), or from a table that is named; what nobody verified is not printed.
"""

from dataclasses import replace

from benchmarks.paper_runs import (
    AGAIN,
    EFFICIENTNET,
    MOBILENET,
    NOTE,
    QUOTED,
    REAL,
    Published,
    Run,
    Section,
    each,
    halves,
    noted,
    outlined,
    photographs,
    photos,
    scenes,
)

CHANGES = ("against blanked, Δ logit", "against blanked, changed", "heat map blanked, Δ logit")
RANDOMIZED, STEPS = ("randomization",), ("randomization", "randomization, passes")
SANITY = "gradcam hirescam xgradcam layercam gradient guided edges"
SANE = {"captioner": 6, "captioner-pooled": 6, "vqa": 4}  # scenes
PLACES = "gradcam hirescam gradcam++ layercam c-mwp gradient"
OF_CELLS = "gradcam hirescam gradcam++ xgradcam layercam ablationcam excitation c-mwp"
OF_PIXELS = "gradient deconvolution guided deconvolution-gradcam guided-gradcam"
AVERAGED = "smoothgrad integrated-gradients"
QUICK = f"{OF_CELLS} {OF_PIXELS}"
WHOLE, DAMAGED = f"{MOBILENET}_whole", f"{MOBILENET}_damaged"
DULLED = "benchmarks/paper_models.py:captioner_damaged"
ATTACKED = "gradcam hirescam guided"
NAMED = "trust, named"
SECTIONS = (
    Section(
        "counterfactual",
        "3.3 Counterfactual explanations",
        "Does an answer rise when the tenth of the picture is blanked that speaks against it? Beside it the same of "
        "the heat map; *random* is a disc of as many pixels anywhere. Of the answer given, and of its runner-up.",
        (
            each(scenes("counterfactual", ["counterfactual"], "gradcam hirescam", 8, task="vqa"), *CHANGES),
            each(
                Run(
                    *("counterfactual-mobilenet", MOBILENET, "pictures:{real}/photos/images", ("counterfactual",)),
                    *(("gradcam", "hirescam"), 40),
                    needs=(REAL,),
                ),
                *CHANGES,
            ),
        ),
        (),
        "vlx evaluate torchvision:vgg16 pictures:DIR --metrics counterfactual --methods gradcam --targets logit",
        "any pictures",
        "The paper shows one picture and no figures.",
    ),
    Section(
        "localization",
        "4.1 Weakly-supervised localization",
        "Does the box around the largest segment of a map, above 15 % of its maximum, fit a box of the class "
        "(intersection over union from .5 on)? `maxbox` takes the best of twenty thresholds instead of 15 %.",
        (
            photos("localization", ["localization", "maxbox"], PLACES),
            photos("localization", ["localization", "maxbox"], "gradcam layercam", model=EFFICIENTNET),
            scenes("localization", ["localization", "maxbox"], "hirescam layercam gradcam ablationcam", 100),
        ),
        (
            Published("VGG-16, Grad-CAM: error with the first / among the first five classes", "56.51 / 46.41 %", NOTE),
            Published("VGG-16, Grad-CAM, again", "55.82 / 44.82 %", AGAIN),
            Published("AlexNet, Grad-CAM", "68.3 / 56.6 %", QUOTED),
            Published("AlexNet, Grad-CAM, again", "68.04 / 56.18 %", AGAIN),
            Published("GoogLeNet, Grad-CAM", "60.09 / 49.34 %", QUOTED),
            Published("GoogLeNet, Grad-CAM, again", "56.89 / 45.44 %", AGAIN),
        ),
        "vlx evaluate torchvision:vgg16 imagenet:DIR --metrics localization,maxbox --methods gradcam,c-mwp,gradient "
        "--targets logit",
        "ILSVRC-15's validation pictures and boxes",
        "The paper tells errors, these are shares that fit: 1 − `localization top1`. A bump in the middle fits nearly "
        "as many boxes of the photographs: those that any map fits are of large things.",
    ),
    Section(
        "seeds",
        "4.2 Seeds for segmentation",
        "How far do the cells from a fifth of the maximum on cover the thing (intersection over union), and how good "
        "is the order of the pixels (average precision)?",
        (
            photos("seeds", ["seeds"], PLACES),
            scenes("seeds", ["seeds"], "hirescam layercam gradcam ablationcam", 100),
        ),
        (
            Published("VOC12, a network (SEC) trained on seeds of Grad-CAM: intersection over union", "49.6"),
            Published("the same on seeds of CAM", "44.6"),
        ),
        "vlx evaluate torchvision:vgg16 voc:DIR:2012:val --metrics seeds --methods gradcam,c-mwp --targets logit",
        "PASCAL VOC 2012",
        "The paper's figures are of a network that was trained on the seeds, not of the seeds themselves: not "
        "comparable in level.",
    ),
    Section(
        "pointing",
        "4.3 The pointing game, with and without rejection",
        "Does the highest point of a map lie on the thing? And, with rejection, is the map of something that is not "
        "there so low that it can be told (threshold from the first half of the pictures, figures of the second)?",
        (
            photos("pointing", ["pointing", "energy"], f"{PLACES} guided"),
            photos("pointing", ["pointing", "energy"], "gradcam layercam", model=EFFICIENTNET),
            scenes("pointing", ["pointing", "energy"], "hirescam layercam gradcam ablationcam", 100),
            photos("rejection", ["pointing-rejection"], "gradcam c-mwp"),
            scenes("rejection", ["pointing-rejection"], "hirescam gradcam", 20),
        ),
        (
            Published("with rejection, GoogLeNet fine-tuned on COCO, Grad-CAM: right", "70.58 %"),
            Published("the same, c-MWP", "60.30 %"),
            Published("VOC07, VGG-16, 15 px tolerance: Grad-CAM / c-MWP / centre", "86.6 / 79.9 / 69.6 %", "TorchRay"),
            Published("COCO14, VGG-16, 15 px tolerance: Grad-CAM / c-MWP / centre", "54.2 / 49.7 / 27.8 %", "TorchRay"),
        ),
        "vlx evaluate torchvision:vgg16 voc:DIR:2007:test --metrics pointing,pointing-rejection --methods "
        "gradcam,c-mwp --targets logit",
        "PASCAL VOC 2007 or COCO, and a classifier that was fine-tuned on its classes",
        "Without tolerance here; on the photographs all things of the shared classes count, however small, and classes "
        "count alike. The threshold with which the paper rejected is not told.",
    ),
    Section(
        "discrimination",
        "5.1 Class discrimination",
        "Of pictures with two things: does the map lie more on the one that was asked for? A stand-in for the people "
        "who were shown maps and said which class was meant; chance is .5. By all methods that suit the model, but "
        "`scorecam`, which takes 1,280 runs a map. The paper’s “Deconvolution Grad-CAM” is `deconvolution-gradcam`. "
        "With people: `vlx study` ([the study](how-to/study.md)).",
        (
            photos("discrimination", ["discrimination"], f"{QUICK} {AVERAGED}"),
            photos("discrimination", ["discrimination"], QUICK, model=EFFICIENTNET),
            scenes("discrimination", ["discrimination"], f"{QUICK} {AVERAGED}", 40),
            scenes("discrimination", ["discrimination"], QUICK, 60, task="captioner-pooled"),
        ),
        (
            Published("43 people, 90 pairs: Guided Grad-CAM", "61.23 %"),
            Published("guided backpropagation", "44.44 %"),
            Published("Deconvolution Grad-CAM", "60.37 %"),
            Published("deconvolution", "53.33 %"),
        ),
        "vlx evaluate torchvision:vgg16 voc:DIR:2007:val --metrics discrimination --methods "
        "deconvolution,guided,deconvolution-gradcam,guided-gradcam,gradcam --targets logit",
        "PASCAL VOC 2007",
        "No people took part here: where a map lies is not what people make of it.",
    ),
    Section(
        "trust",
        "5.2 Which of two models to trust",
        "Where both models are right, of the same picture and thing: how much more of the first one's map lies on the "
        "thing, and how often is it more (`trust, named`, .5 by chance)? How often either model is right stands below "
        "each table: the first is the better one. The classifiers all see the whole picture, squashed; *damaged* is "
        "the same model with a little noise on its weights. With people: `vlx study`.",
        (
            noted(outlined("trust", ["trust"], QUICK, 100, EFFICIENTNET, ("--against", WHOLE)), NAMED),
            noted(outlined("trust", ["trust"], QUICK, 100, WHOLE, ("--against", DAMAGED)), NAMED),
            noted(replace(scenes("trust", ["trust"], QUICK, 60), options=("--against", DULLED)), NAMED),
            noted(
                replace(
                    scenes("trust-pooled", ["trust"], QUICK, 60),
                    options=("--against", "scenes/captioner-pooled"),
                ),
                NAMED,
            ),
        ),
        (
            Published("people, −2 to +2, VGG-16 over AlexNet: Guided Grad-CAM", "+1.27"),
            Published("guided backpropagation", "+1.00"),
        ),
        "vlx evaluate torchvision:vgg16 voc:DIR:2007:val --metrics trust --against torchvision:alexnet --methods "
        "gradcam,guided-gradcam --targets logit",
        "PASCAL VOC 2007",
        "A margin in shares of the map and a share of things, no opinion of people: not comparable in level. Of two "
        "models whose cells lie otherwise even a random map and a bump in the middle do not name both alike: what a "
        "method tells of the models is what it names beyond them.",
    ),
    Section(
        "occlusion",
        "5.3 Faithfulness: the rank correlation with occlusion",
        "Do maps rank places as the falls of the score do when each of them is hidden?",
        (
            photos("occlusion", ["occlusion"], "gradcam hirescam c-mwp guided guided-gradcam", 24),
            scenes("occlusion", ["occlusion"], "gradcam hirescam layercam", 16),
        ),
        (
            Published("VOC07 val, 2,510 pictures: Grad-CAM", ".254"),
            Published("Guided Grad-CAM", ".261"),
            Published("c-MWP", ".220"),
            Published("CAM", ".208"),
            Published("guided backpropagation", ".168"),
        ),
        "vlx evaluate torchvision:vgg16 voc:DIR:2007:val --metrics occlusion --methods "
        "gradcam,guided,c-mwp,guided-gradcam --targets logit",
        "PASCAL VOC 2007",
        "Size and stride of what is hidden are not told in the paper, and matter.",
    ),
    Section(
        "adversarial",
        "6.2 Adversarial noise",
        "The picture is changed, by at most 8/255 a channel, until the model gives a class that is not there p ≥ .9999 "
        "(60 steps; how many came so far stands below each table); where do the maps of what is there lie then, beside "
        "those of guided backpropagation and of random? First of two photographs side by side, as in the paper’s "
        "figure 7, every one to an airliner: .5 by chance; then of single photographs, each to a class by lot.",
        (
            noted(halves("adversarial", ATTACKED, 8, MOBILENET), "adversarial"),
            noted(halves("adversarial", ATTACKED, 8, EFFICIENTNET), "adversarial"),
            noted(photos("adversarial", ["adversarial"], ATTACKED, 12), "adversarial"),
            noted(photos("adversarial", ["adversarial"], ATTACKED, 12, model=EFFICIENTNET), "adversarial"),
        ),
        (Published("VGG-16: an absent class at p > .9999, maps of the true classes", "“still fit”, no figure"),),
        "vlx evaluate torchvision:vgg16 imagenet:DIR --metrics adversarial --methods gradcam --targets logit --n 100",
        "ILSVRC-15's validation pictures and boxes",
        "![An orange and a zebra before and after both became an airliner, by two models](attack.jpg)\n\nThe first "
        "pair, by `python -m benchmarks.adversarial --picture docs/attack.jpg`, which prints the tables of the halves, "
        "too. MobileNetV2’s map of the orange does not stay: it goes over to the zebra. Guided backpropagation draws "
        "the zebra whichever of the two is asked for. What fails is told as measured: after the attack less heat lies "
        "on what was asked for (a prototype, 12 cases of MobileNetV2: .949 before, .804 after).",
        lead="adversarial, energy after",
    ),
    Section(
        "captioning",
        "8.1 Image captioning",
        "Do the maps of a caption's words lie on what they name: is the highest point inside, and how much denser is "
        "the map inside the box than outside (1 if the same everywhere)?",
        (
            photographs("captioning", ["pointing", "in-out"], "default hirescam gradcam layercam", 191),
            scenes("captioning", ["in-out"], "hirescam gradcam layercam guided guided-gradcam", 60),
            photos("in-out", ["in-out"], "gradcam hirescam layercam guided guided-gradcam"),
        ),
        (
            Published("830 words mapped to COCO's 80 classes, 1,000 pictures: pointing", "30.0 %"),
            Published("DenseCap, five phrases a picture, inside / outside: Grad-CAM", "3.27 ± 0.18"),
            Published("guided backpropagation", "2.32 ± 0.08"),
            Published("Guided Grad-CAM", "6.38 ± 0.99"),
        ),
        "vlx evaluate mine.py:captioner regions:region_descriptions.json,DIR --metrics in-out --methods "
        "gradcam,guided,guided-gradcam",
        "COCO (`coco:DIR`, words) or Visual Genome (`regions:…`, phrases), and a captioner of your own",
        "The paper gives no baseline for the 30.0 %. What its ± means is not told. Phrases of DenseCap are not words "
        "of captions: not comparable in level.",
    ),
    Section(
        "vqa",
        "8.2 Visual question answering",
        "Do the maps of an answer rank places as hiding them does, and as people looked (`hat`)?",
        (
            scenes("vqa", ["occlusion"], "gradcam hirescam layercam guided", 8, task="vqa"),
            scenes("vqa-pointing", ["pointing", "energy"], "gradcam hirescam layercam", 60, task="vqa"),
        ),
        (
            Published("occlusion, Grad-CAM", "0.60 ± 0.038"),
            Published("occlusion, guided backpropagation", "0.42 ± 0.038"),
            Published("human attention, 1,374 pairs, Grad-CAM (random 0)", "0.136"),
        ),
        "vlx evaluate mine.py:vqa vqa2:questions.json,annotations.json,DIR,hat=HATDIR --metrics hat,occlusion "
        "--methods gradcam,guided",
        "VQA v1, the maps of VQA-HAT, and a VQA model of your own",
        "No human maps lie here, so `hat` is not measured on this page.",
    ),
    Section(
        "ablations",
        "Appendix B and G: ablations of Grad-CAM, and its layers",
        "What do the ReLU at the end, the mean, the gradients' sign and the layer do?",
        (
            photos("ablations", [], "", options=("--ablate",)),
            photos("ablations", [], "", model=EFFICIENTNET, options=("--ablate",)),
            Run("ablations-scenes", "scenes/captioner", "", (), (), 60, "object", options=("--ablate",)),
            Run("ablations-scenes-pooled", "scenes/captioner-pooled", "", (), (), 30, "object", options=("--ablate",)),
            photographs("ablations", [], "", 12, ("--ablate",)),
        ),
        (
            Published("top-1 localization error, 10 crops: Grad-CAM", "59.65 %", NOTE),
            Published("no ReLU at the end", "74.98 %", NOTE),
            Published("absolute gradients", "58.19 %", NOTE),
            Published("maximum instead of mean", "59.96 %", NOTE),
            Published("guided ReLU", "59.14 %", NOTE),
            Published("deconvolution's ReLU", "83.95 %", NOTE),
        ),
        "vlx evaluate torchvision:vgg16 imagenet:DIR --ablate --targets logit",
        "ILSVRC-15's validation pictures and boxes",
        "Errors of ten crops there, shares that fit of one view here: not comparable in level, but in what each change "
        "does. **What differs**: VGG-16 has three fully connected layers with ReLUs between the map and the score. "
        "MobileNetV2 and EfficientNet-Lite0 have a mean and one linear layer there: gradients are the same in all "
        "cells, so that the maximum is the mean, and no ReLU is left for the guided and the deconvolution rule. Behind "
        "the captioners’ maps stands no ReLU either, but a decoder whose gradients differ from cell to cell and in "
        "sign: there absolute gradients and the maximum ruin the map, which in the paper they hardly touch. That the "
        "final ReLU helps shows on the captioner alone; the box around the largest segment of a photograph stays the "
        "same.",
        changes={
            "gradcam-norelu": 59.65 - 74.98,
            "gradcam-norelu-shifted": 59.65 - 74.98,
            "gradcam-abs": 59.65 - 58.19,
            "gradcam-max": 59.65 - 59.96,
            "gradcam-guided": 59.65 - 59.14,
            "gradcam-deconvolution": 59.65 - 83.95,
        },
    ),
    Section(
        "sanity",
        "Sanity checks (1810.03292)",
        "How alike is a map (rank correlation) once blocks of the model, from the head down, have permuted weights? A "
        "method passes where the upper end of the interval is at most .5 at the first step; `edges` know no model.",
        (
            *(each(scenes("sanity", RANDOMIZED, SANITY, n, task=task), *STEPS) for task, n in SANE.items()),
            each(photos("sanity", RANDOMIZED, SANITY.replace("hirescam xgradcam ", ""), 6), *STEPS),
        ),
        (
            Published(
                "Grad-CAM reacts to the weights; guided backpropagation and Guided Grad-CAM not to upper layers",
                *("–", "1810.03292"),
            ),
        ),
        "vlx evaluate torchvision:inception_v3 imagenet:DIR --metrics randomization --methods "
        "gradcam,guided,guided-gradcam --targets logit --n 50",
        "any pictures",
    ),
    Section(
        "deletion",
        "Beyond the paper: deletion, insertion, ROAD",
        "How does the score go as the picture is blanked, shown or imputed in the order of the map?",
        (
            scenes("deletion", ["deletion", "insertion"], "hirescam layercam gradcam", 60),
            scenes("road", ["road"], "hirescam layercam gradcam", 12),
            photos("deletion", ["deletion", "insertion"], "gradcam layercam", 70),
            photos("road", ["road"], "gradcam layercam", 30),
        ),
        (),
        "vlx evaluate torchvision:vgg16 imagenet:DIR --metrics deletion,insertion,road --methods gradcam --targets "
        "logit --n 500",
        "any pictures",
        "Smooth maps are favoured by these measures, whatever the model does (2304.13836).",
    ),
)
