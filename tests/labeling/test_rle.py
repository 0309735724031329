import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_studio_sdk.converter import brush as sdk

from labeling.errors import RegionError
from labeling.rle import decode_rle, encode_rle

images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 13), st.just(4)))


# A stroke of the real page's brush on a 64 x 64 image, as the browser sent it.
STROKE = [
    *[0, 0, 64, 0, 57, 27, 255, 50, 43, 0, 140, 150, 50, 157, 230, 1, 25, 124, 255, 241, 239, 71, 87, 28, 36, 108, 49],
    *[154, 198, 7, 182, 192, 35, 50, 143, 247, 11, 255, 199, 227, 29, 196, 114, 113, 184, 198, 151, 179, 192, 35, 38],
    *[141, 242, 60, 8, 250, 112, 255, 252, 123, 177, 217, 199, 51, 26, 204, 96, 59, 44, 2, 48, 184, 205, 99, 107, 142],
    *[
        178,
        61,
        184,
        255,
        48,
        191,
        252,
        105,
        59,
        124,
        2,
        48,
        136,
        208,
        227,
        125,
        143,
        114,
        223,
        252,
        103,
        91,
        220,
        2,
        50,
    ],
    *[94, 15, 38, 0],
]


def pack(*fields: tuple[int, int]) -> list[int]:
    """Write (value, bits) fields as the bytes of a bit stream, padded with zeros."""
    bits = "".join(f"{value:0{width}b}" for value, width in fields)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def header(n_values: int, word_bits: int = 8) -> list[tuple[int, int]]:
    return [(n_values, 32), (word_bits - 1, 5), (3 - 1, 4), (4 - 1, 4), (8 - 1, 4), (16 - 1, 4)]


@given(images)
def test_reads_what_the_sdk_writes(image):
    height, width, _ = image.shape
    assert np.array_equal(decode_rle(sdk.encode_rle(image.ravel()), height=height, width=width), image)


@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 13), st.just(4)), elements=st.sampled_from([0, 255])
    )
)
def test_reads_runs_as_the_sdk_does(image):
    rle = sdk.encode_rle(image.ravel())
    height, width, _ = image.shape
    assert np.array_equal(decode_rle(rle, height=height, width=width).ravel(), sdk.decode_rle(rle))


def test_reads_a_run_followed_by_literals():
    # One row of two pixels: a run of five 7s (length field 0, 3 bits), then three literal values.
    rle = pack(*header(8), (1, 1), (0, 2), (4, 3), (7, 8), (0, 1), (0, 2), (2, 3), (1, 8), (2, 8), (3, 8))
    assert decode_rle(rle, height=1, width=2).tolist() == [[[7, 7, 7, 7], [7, 1, 2, 3]]]
    assert sdk.decode_rle(rle).tolist() == [7, 7, 7, 7, 7, 1, 2, 3]


def test_reads_what_the_page_s_own_encoder_writes():
    image = decode_rle(STROKE, height=64, width=64)
    assert image.ravel().tolist() == sdk.decode_rle(STROKE).tolist()
    rows, columns = np.nonzero(image[..., 3] > 127)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (51, 55, 11, 26)


def test_a_header_that_asks_for_gigabytes_is_refused_before_anything_is_allocated():
    rle = pack(*header(2**32 - 1), (1, 1), (3, 2), (2**16 - 1, 16), (255, 8))
    with pytest.raises(RegionError, match="declares 4294967295 values; expected 24"):
        decode_rle(rle, height=2, width=3)


def test_a_run_past_the_end_is_refused():
    rle = pack(*header(4), (1, 1), (0, 2), (4, 3), (255, 8))
    with pytest.raises(RegionError, match="block of 5 values at 0 runs past the 4"):
        decode_rle(rle, height=1, width=1)


def test_other_word_sizes_are_refused():
    with pytest.raises(RegionError, match="words of 16 bits; expected 8"):
        decode_rle(pack(*header(4, word_bits=16)), height=1, width=1)


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ([], "was cut off"),
        (None, "NoneType; expected a list"),
        ("0,0,0", "str; expected a list"),
        ([0.0], "expected a list of integers"),
        ([True], "expected a list of integers"),
        ([256], "outside 0..255"),
        ([-1], "outside 0..255"),
        ([0] * 1000, "has 1000 bytes; a mask of this size needs at most 72"),
    ],
)
def test_malformed_rles_are_refused(rle, message):
    with pytest.raises(RegionError, match=message):
        decode_rle(rle, height=1, width=1)


@given(images, st.data())
def test_a_truncated_rle_is_refused(image, data):
    height, width, _ = image.shape
    rle = sdk.encode_rle(image.ravel())
    cut = rle[: data.draw(st.integers(0, len(rle) - 2))]  # the last byte may be all padding
    with pytest.raises(RegionError):
        decode_rle(cut, height=height, width=width)


@given(st.lists(st.integers(0, 255), max_size=200))
def test_noise_after_a_valid_header_is_an_image_or_an_error(noise):
    try:
        image = decode_rle(pack(*header(48)) + noise, height=3, width=4)
    except RegionError:
        return
    assert image.shape == (3, 4, 4)


masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(masks)
def test_a_mask_is_written_as_label_studio_s_own_library_writes_it(mask):
    encoded = encode_rle(mask)
    assert encoded == sdk.mask2rle(mask.astype(np.uint8) * np.uint8(255))
    np.testing.assert_array_equal(decode_rle(encoded, height=mask.shape[0], width=mask.shape[1])[..., 3] > 127, mask)


@pytest.mark.parametrize("painted", [False, True])
def test_runs_longer_than_the_longest_length_field_are_split(painted):
    """512 x 512 pixels of four channels are 2^20 values; one block holds 2^16."""
    mask = np.full((512, 512), painted)
    encoded = encode_rle(mask)
    assert encoded == sdk.mask2rle(mask.astype(np.uint8) * np.uint8(255))
    assert (decode_rle(encoded, height=512, width=512)[..., 3] == 255 * painted).all()
