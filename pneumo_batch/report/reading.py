"""What the numbers of the verdict mean, and what they do not say."""

from pneumo_batch.core.statistics.label_share import FEWEST_MODELS
from pneumo_batch.report.source import Source

GUIDE = [
    "Similarity is that of two maps: rank correlation over their pixels or regions (Spearman), correlation (Pearson),"
    " structural similarity (SSIM), correlation of their outlines (HOG), or overlap of their highest 10 % (top 10 %)."
    " 1 is the same map; unrelated maps are near 0, but smooth ones are above it under SSIM and HOG.",
    "Signed view: a map as it is, for and against the explained class. Magnitude view: how strong it is, whatever its"
    " sign (of Grad-CAM, the part above 0). Pixel scale: every pixel. Region scale: averaged over a coarse grid, as"
    " people look at maps.",
    "TT, two models trained on true labels, same film: how reproducible a map is at all. TN, a true and a random model,"
    " same film: what is left of that agreement with random labels. NN, two random models, same film.",
    "TTx, TNx and NNx, the same pairs on films of two patients: what maps share without sharing a film, such as where"
    " models look on average. They are the floors of TT, TN and NN.",
    "TT − TN has two parts. Everywhere, TTx − TNx: on every film alike, random models show something else. On the film,"
    " (TT − TTx) − (TN − TNx): what true models agree on about this film and random labels take away. Only the second"
    " part says that a map follows what there is to see on a film.",
    "h = TT − TTx is what two true models agree on about a film, k = TN − TNx what is left of it with random labels."
    " The label share L = 1 − k / h is 1 where all of it depends on the labels, and 0 where the film alone produces it."
    " Above 1, random labels take away more than there was; below 0, a true and a random model agree more than two true"
    " ones. Where h is not above 0 there is nothing to divide.",
    "Sensitive: the interval of L lies above the threshold, and the exact permutation over models reaches 0.05."
    " Insensitive: the interval lies below the threshold. Invalid: the models do not meet the conditions, or h is not"
    " above 0. Else inconclusive.",
    "Intervals of the parts and of L are over patients and models: they cover other patients and retrained models."
    " With fewer than three models of a kind they resample patients alone, and say “these models only”. Intervals of"
    " single similarities resample patients.",
    "Permutation over models: how often other labelings of the same models as true and random separate them at least"
    " as well. On M = S − C it asks about agreement on a film beyond its floor, on S about agreement as it is. With 3"
    " + 3 models no p below 0.05 can be reached, with 4 + 4 none below 0.0143.",
    "Edge and noise: agreement of true maps with the edges of the film, and with noise of the same smoothness and"
    " values. They need no model.",
]
LIMITS = [
    "A method whose maps follow the labels is not thereby right: following them is necessary, not sufficient. Whether a"
    " map points at the finding is another question.",
    "A label share near 0 does not say that maps are wrong. They may show what matters on a film; but they would show"
    " it to a model that never learnt what matters.",
    "Everywhere is part of no verdict: a difference that is the same on every film says nothing about any one film.",
    "The verdict depends on the view, the scale and the metric; the job names the primary ones before the run, and the"
    " others are shown so that nobody has to guess.",
    "A random model has memorised its training labels, so it differs from a true one in what it learnt, not in whether"
    " it was trained. It often needs more epochs for that, and the two differ by those too.",
    "Nothing here is evidence of clinical usefulness, and no model of this run is meant for patients.",
]


def picture(source: Source) -> str:
    """What the first figure shows, beside it."""
    beyond = "Intervals are over patients and models."
    if min(len(source.true), len(source.random)) < FEWEST_MODELS:
        beyond = f"Intervals hold for these models only: others take {FEWEST_MODELS} of each kind."
    return (
        "A bar is h = TT − TTx: what two models trained on true labels agree on about a film, beyond what they agree on"
        " about films of different patients. Blue is owed to the labels; grey is there with random labels too"
        " (k = TN − TNx). The label share L = 1 − k / h is the blue part. The diamonds show what labels change on every"
        f" film alike, which is no part of the bar. {beyond}"
    )
