import threading

import numpy as np
import pytest
import torch

from imagery.classes import UNKNOWN
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Window, tile
from imagery.scene_reader import SceneReader
from imagery.stitching import stitch
from imagery.synthetic import write_scene
from tests.imagery.forge import forge_scene
from tests.workers.rows import champion
from workers.windows import (
    batch_size_for,
    batches,
    predict_classes,
    predict_probability_strips,
    predict_strips,
    quarter_turns,
    read_ahead,
    read_batch,
)


@pytest.fixture(scope="module")
def forged(tmp_path_factory):
    return forge_scene(tmp_path_factory.mktemp("scene") / "a.tif", nodata_columns=13)


def test_batches_keep_the_order_and_lose_nothing():
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], 3)) == []


def test_while_one_item_is_worked_on_the_next_is_read():
    read, begun = [], threading.Event()

    def slowly(item: int) -> int:
        if item == 1:
            begun.set()
        read.append(item)
        return 10 * item

    found = []
    for item, value in read_ahead(range(3), slowly):
        if item == 0:
            assert begun.wait(5)  # nobody has asked for it yet
        assert len(read) <= item + 2  # one ahead, no more
        found.append((item, value))
    assert found == [(0, 0), (1, 10), (2, 20)]
    assert list(read_ahead([], slowly)) == []


def test_what_cannot_be_read_is_told_where_it_is_waited_for():
    def fail_at_two(item: int) -> int:
        if item == 2:
            raise SceneError("no such file")
        return item

    reading = read_ahead([1, 2, 3], fail_at_two)
    assert next(reading) == (1, 1)
    with pytest.raises(SceneError, match="no such file"):
        next(reading)


def test_a_batch_holds_raw_numbers_and_nan(forged):
    windows = [Window(0, 0, 8, 12), Window(90, 140, 8, 12)]
    with SceneReader(describe(forged.bands)) as reader:
        batch = read_batch(reader, ("nir", "red"), windows)
        np.testing.assert_array_equal(batch[1].numpy(), reader.read(("nir", "red"), windows[1]))
    assert (batch.shape, batch.dtype) == ((2, 2, 8, 12), torch.float32)
    assert not batch[0].isnan().any()
    assert batch[1].isnan().all(dim=1)[:, 7:].all()  # from column 147 on


def test_neighbours_read_together_are_what_each_is_alone(tmp_path):
    # Channels of their own grid and slope: what is resampled or differentiated knows pixels beyond the window.
    forged = write_scene(tmp_path, 128, 192, seed=0)
    source = describe(forged.bands, dem=forged.dem)
    windows = tile(192, 128, 48, 16)
    with SceneReader(source) as reader:
        together = read_batch(reader, source.channel_names, windows)
        for window, found in zip(windows, together, strict=True):
            alone = reader.read(source.channel_names, window)
            np.testing.assert_array_equal(found.numpy(), alone)
        apart = [windows[4], windows[1], windows[2]]
        np.testing.assert_array_equal(read_batch(reader, source.channel_names, apart), together[[4, 1, 2]])


def test_a_margin_is_read_from_the_scene_and_empty_beyond_it(forged):
    source = describe(forged.bands)
    windows = tile(source.grid.width, source.grid.height, 32)[:6]  # the first row and the beginning of the second
    with SceneReader(source) as reader:
        around = read_batch(reader, ("red", "nir"), windows, margin=5)
        whole = reader.read(("red", "nir"), source.grid.window)
        inner = read_batch(reader, ("red", "nir"), windows)
    padded = np.pad(whole, ((0, 0), (5, 5), (5, 5)), constant_values=np.nan)
    assert around.shape == (6, 2, 42, 42)
    for window, found in zip(windows, around.numpy(), strict=True):
        rows, cols = slice(window.row_off, window.row_off + 42), slice(window.col_off, window.col_off + 42)
        np.testing.assert_array_equal(found, padded[:, rows, cols])
    np.testing.assert_array_equal(around[..., 5:-5, 5:-5], inner)


@pytest.mark.parametrize("region", [Window(0, 0, 100, 160), Window(3, 5, 33, 47), Window(0, 0, 32, 32)])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_any_size_is_predicted_whole(forged, region, batch_size):
    source = describe(forged.bands, region)
    classes = predict_classes(champion().segmenter, source, 32, batch_size, UNKNOWN)
    assert (classes.shape, classes.dtype) == (region.shape, np.uint8)
    with SceneReader(source) as reader:
        valid = reader.valid_mask(source.grid.window)
    np.testing.assert_array_equal(classes == UNKNOWN, ~valid)


def test_one_window_is_the_networks_own_answer(forged):
    source, network = describe(forged.bands, Window(0, 0, 32, 32)), champion().segmenter
    with SceneReader(source) as reader:
        raw = read_batch(reader, network.channels, [source.grid.window])
    expected = network.probabilities(raw)[0].argmax(dim=0).numpy()
    np.testing.assert_array_equal(predict_classes(network, source, 32, 1, UNKNOWN), expected)


def test_only_the_networks_channels_matter_for_nodata(tmp_path):
    forged = forge_scene(tmp_path / "a.tif")
    scene = describe(forged.bands, Window(0, 0, 40, 40))
    by_red = champion(channels=("red",)).segmenter
    assert not (predict_classes(by_red, scene, 32, 4, UNKNOWN) == UNKNOWN).any()


def test_a_scene_smaller_than_a_window_is_refused(forged):
    source = describe(forged.bands, Window(0, 0, 31, 40))
    with pytest.raises(SceneError, match="found a scene of 40 x 31 pixels"):
        predict_classes(champion().segmenter, source, 32, 4, UNKNOWN)


def test_strips_are_the_class_map_from_the_first_row_to_the_last(forged):
    source, network = describe(forged.bands), champion().segmenter
    strips = list(predict_strips(network, source, 32, 4, UNKNOWN))
    assert [row for row, _ in strips] == [0, 16, 32, 48, 64, 68]  # where windows begin: the last is moved back
    whole = predict_classes(network, source, 32, 4, UNKNOWN)
    np.testing.assert_array_equal(np.concatenate([strip for _, strip in strips]), whole)


def test_large_windows_go_through_the_network_fewer_at_a_time():
    assert [batch_size_for(size, 8) for size in (128, 181, 256, 512, 1024)] == [8, 8, 4, 1, 1]


def probability_windows(forged, overlap):
    """Windows of 32 px of one seeded network with their class probabilities, which depend on the context."""
    network, source = champion(seed=3).segmenter, describe(forged.bands, Window(0, 0, 96, 144))
    windows = tile(144, 96, 32, overlap)
    with SceneReader(source) as reader:
        raw = read_batch(reader, network.channels, windows)
    return list(zip(windows, network.probabilities(raw).numpy(), strict=True))


def step_ratio(probabilities, rows, columns):
    """Mean absolute difference of neighbours across seams, over that of neighbours elsewhere."""
    down, right = np.abs(np.diff(probabilities, axis=1)), np.abs(np.diff(probabilities, axis=2))
    rows, columns = np.array(rows) - 1, np.array(columns) - 1
    across = np.concatenate([down[:, rows].ravel(), right[:, :, columns].ravel()])
    elsewhere = np.concatenate([np.delete(down, rows, 1).ravel(), np.delete(right, columns, 2).ravel()])
    return across.mean() / elsewhere.mean()


def test_the_four_windows_over_a_pixel_see_it_in_four_orientations():
    turns = quarter_turns(tile(80, 64, 32, 16))
    assert turns == [0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1]
    assert quarter_turns(tile(40, 32, 32, 16)) == [0, 1]


def test_a_map_in_alternating_orientations_is_blended_from_turned_windows(forged):
    network, source = champion().segmenter, describe(forged.bands, Window(0, 0, 48, 64))
    network.orientations = "alternating"
    windows = tile(64, 48, 32, 16)
    with SceneReader(source) as reader:
        raw = read_batch(reader, network.channels, windows)
    seen = [
        torch.rot90(network.probabilities(torch.rot90(window[None], turns, (-2, -1))), -turns, (-2, -1))[0].numpy()
        for window, turns in zip(raw, (0, 1, 0, 2, 3, 2), strict=True)
    ]
    expected = np.concatenate([strip for _, strip in stitch(zip(windows, seen, strict=True), 48, 64)], axis=1)
    strips = list(predict_probability_strips(network, source, 32, 4, UNKNOWN))
    found = np.concatenate([probabilities for _, _, probabilities in strips], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_no_seam_is_measurable_where_windows_are_blended_and_one_is_where_they_are_not(forged):
    """The yardstick is the network's answer to the scene in one piece: a seam is a step in what differs from it."""
    network, source = champion(seed=3).segmenter, describe(forged.bands, Window(0, 0, 96, 144))
    with SceneReader(source) as reader:
        whole = network.probabilities(read_batch(reader, network.channels, [source.grid.window]))[0].numpy()
    blended = np.concatenate([strip for _, strip in stitch(probability_windows(forged, overlap=16), 96, 144)], axis=1)
    assert step_ratio(blended - whole, range(16, 96, 16), range(16, 144, 16)) <= 1.0
    pasted = np.empty((3, 96, 144), dtype=np.float32)
    for window, probability in probability_windows(forged, overlap=0):
        pasted[:, *window.slices] = probability
    assert step_ratio(pasted - whole, (32, 64), (32, 64, 96, 112)) > 2.0


@pytest.mark.parametrize("orientations", ["one", "alternating"])
def test_alternating_orientations_make_no_seams(forged, orientations):
    """Steps at the ends of windows against those two pixels beside them, the same places in the network's pooling."""
    network, source = champion(seed=3).segmenter, describe(forged.bands, Window(0, 0, 96, 144))
    network.orientations = orientations
    strips = predict_probability_strips(network, source, 32, 8, UNKNOWN)
    found = np.concatenate([probabilities for _, _, probabilities in strips], axis=1)
    steps = np.abs(np.diff(found, axis=2)).mean(axis=(0, 1)), np.abs(np.diff(found, axis=1)).mean(axis=(0, 2))

    def at(offset):
        return np.mean([along[end + offset - 1] for along in steps for end in range(16, len(along) - 2, 16)])

    assert at(0) <= 1.05 * (at(-2) + at(2)) / 2


def test_the_map_of_a_version_with_all_orientations_is_the_mean_over_them(tmp_path):
    forged = forge_scene(tmp_path / "a.tif")
    network = champion().segmenter
    network.orientations = "all"
    with SceneReader(describe(forged.bands, Window(0, 0, 32, 32))) as reader:
        raw = read_batch(reader, network.channels, [reader.source.grid.window])
    expected = torch.zeros(3, 32, 32)
    for turns in range(4):
        for flipped in (raw, raw.flip(-2)):
            seen = network.probabilities(torch.rot90(flipped, turns, (-2, -1)))
            back = torch.rot90(seen, -turns, (-2, -1))
            expected += (back if flipped is raw else back.flip(-2))[0]
    predicted = predict_classes(network, describe(forged.bands, Window(0, 0, 32, 32)), 32, 1, UNKNOWN)
    np.testing.assert_array_equal(predicted, expected.argmax(dim=0).numpy())
