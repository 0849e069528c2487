"""What a job may choose of comparisons. Light: the command line reads job files with it."""

from typing import Literal, get_args

View = Literal["signed", "magnitude"]
Scale = Literal["pixel", "region"]
Metric = Literal["spearman", "pearson", "ssim", "hog", "top10"]

VIEWS: tuple[str, ...] = get_args(View)
SCALES: tuple[str, ...] = get_args(Scale)
METRICS: tuple[str, ...] = get_args(Metric)
REGION_METRICS: tuple[str, ...] = ("spearman", "pearson", "top10")

# Smaller images have no value of the metric: SSIM needs its window, HOG one block of 3 x 3 cells of 16 x 16 pixels.
SMALLEST_SIDE: dict[str, int] = {"spearman": 1, "pearson": 1, "ssim": 11, "hog": 48, "top10": 1}
REGION_GRID = 8  # cells a side
