"""Attribution methods that end badly on one image: what a faulty driver or library does to a worker."""

import os
import signal
import time

import torch


def _is_white(inputs_1CHW):
    # 0 is what methods are tried at before a run, in its own process
    return bool(inputs_1CHW.min() == inputs_1CHW.max() and inputs_1CHW.max() > 0)


def dies(model, inputs_BCHW, targets_B):
    """The image itself as its map; a white image kills the process."""
    if _is_white(inputs_BCHW):
        os.kill(os.getpid(), signal.SIGKILL)
    return inputs_BCHW.sum(1)


def dies_of_two(model, inputs_BCHW, targets_B):
    """The image itself as its map; a white image and a black one kill the process."""
    if _is_white(inputs_BCHW) or bool(inputs_BCHW.max() < 0):
        os.kill(os.getpid(), signal.SIGKILL)
    return inputs_BCHW.sum(1)


def hangs(model, inputs_BCHW, targets_B):
    """The image itself as its map; a white image never ends."""
    while _is_white(inputs_BCHW):
        time.sleep(1)
    return torch.as_tensor(inputs_BCHW).sum(1)
