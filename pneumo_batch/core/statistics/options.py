"""What a job may choose of the statistics. Light: the command line reads job files with it."""

RESAMPLES = 2000  # of the patients
THRESHOLD = 0.5  # label share that divides sensitive from insensitive
