from __future__ import annotations

import numpy as np

from boneviz.lps import flipped


def test_left_becomes_minus_right_and_back() -> None:
    # 10 mm towards the left, 20 towards the back, 30 towards the head
    np.testing.assert_array_equal(flipped([[10, 20, 30]]), [[-10, -20, 30]])
    affine = np.array([[2.0, 0, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    expected = [[-2, 0, 0, -5], [0, -3, 0, -6], [0, 0, 4, 7], [0, 0, 0, 1]]
    np.testing.assert_array_equal(flipped(affine), expected)
    np.testing.assert_array_equal(flipped(flipped(affine)), affine)
    assert affine[0, 0] == 2
