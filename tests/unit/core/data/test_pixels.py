import pickle

import numpy as np
import pytest

from pneumo_batch.core.data.pixels import Pixels


class InMemory:
    """Parts of an array, and which of them were opened."""

    side = 5

    def __init__(self, pixels_NHW, rows):
        self.pixels_NHW, self.rows, self.opened = pixels_NHW, rows, []

    def open(self, number):
        self.opened.append(number)
        return self.pixels_NHW[number * self.rows :][: self.rows]


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 256, (23, 5, 5), dtype=np.uint8)


def of(array, rows=4):
    return Pixels(InMemory(array, rows), range(len(array)))


@pytest.mark.parametrize("rows", [1, 4, 23, 100])
def test_images_are_those_of_the_array(array, rows):
    pixels, chosen = of(array, rows), np.array([22, 0, 7, 7, 3])
    assert pixels.shape == array.shape
    np.testing.assert_array_equal(np.array(pixels), array)
    np.testing.assert_array_equal(pixels[chosen], array[chosen])
    np.testing.assert_array_equal(pixels[3:19:3][1:][np.array([0, 2])], array[3:19:3][1:][[0, 2]])
    np.testing.assert_array_equal(np.array(pixels[1::2][20:]), array[1::2][20:])  # none
    np.testing.assert_array_equal(pixels[20:40], array[20:40])


def test_a_view_of_some_images_leaves_them_where_they_are(array):
    parts, chosen = InMemory(array, rows=4), np.array([22, 0, 7, 3])
    view = Pixels(parts, range(len(array)))[1::2].view(np.array([10, 0, 3]))
    assert parts.opened == []
    np.testing.assert_array_equal(np.array(view), array[1::2][[10, 0, 3]])
    np.testing.assert_array_equal(view[1:][np.array([1])], array[1::2][[3]])
    np.testing.assert_array_equal(np.array(of(array).view(chosen).view(np.array([2]))), array[[7]])
    np.testing.assert_array_equal(np.array(pickle.loads(pickle.dumps(of(array).view(chosen)))), array[chosen])


def test_what_is_chosen_is_a_copy_and_what_is_not_asked_for_stays_closed(array):
    parts = InMemory(array, rows=4)
    pixels = Pixels(parts, range(len(array)))
    before = array.copy()
    pixels[np.array([9])][:] = 0
    np.testing.assert_array_equal(array, before)
    pixels[8:10][np.array([0, 1])]
    assert parts.opened == [2]


def test_a_process_is_sent_where_the_images_are_and_not_the_images(array):
    pixels = of(array)
    np.array(pixels)  # every part is open
    sent = pickle.loads(pickle.dumps(pixels[2:9]))
    assert sent._opened == {}
    np.testing.assert_array_equal(np.array(sent), array[2:9])
