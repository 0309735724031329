import pytest
import torch

from models.inference import pick_device, pick_precision, place, predict_windows
from tests.models.networks import raw_images, small_segmenter


def test_windows_are_predicted_batch_by_batch_without_dropout():
    segmenter = small_segmenter(dropout=0.5).train()
    batches = [raw_images(2, 16, 16), raw_images(1, 8, 20, seed=1)]
    found = list(predict_windows(segmenter, batches))
    assert [tuple(probabilities.shape) for probabilities in found] == [(2, 3, 16, 16), (1, 3, 8, 20)]
    for batch, probabilities in zip(batches, found, strict=True):
        torch.testing.assert_close(probabilities, segmenter.eval()(batch).softmax(1))


def test_one_batch_is_held_at_a_time():
    taken: list[int] = []

    def batches():
        for index in range(3):
            taken.append(index)
            yield raw_images(1, 8, 8)

    windows = predict_windows(small_segmenter(), batches())
    next(windows)
    assert taken == [0]


def test_placing_changes_no_prediction():
    images = raw_images()
    expected = small_segmenter().probabilities(images)
    placed = place(small_segmenter(), torch.device("cpu"))
    torch.testing.assert_close(placed.probabilities(images), expected, atol=1e-6, rtol=0)


def test_cpu_can_be_demanded():
    assert pick_device("cpu") == torch.device("cpu")


def test_auto_takes_the_gpu_that_there_is():
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU, so the demand can be met")
def test_demanding_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(RuntimeError, match="sees no usable GPU"):
        pick_device("cuda")


def test_unknown_device_is_refused():
    with pytest.raises(ValueError, match="choose auto, cpu or cuda"):
        pick_device("tpu")


CPU = torch.device("cpu")


def test_precision_can_be_demanded():
    assert pick_precision(CPU, "float32") is torch.float32
    assert pick_precision(CPU, "bfloat16") is torch.bfloat16
    assert pick_precision(torch.device("cuda"), "float32") is torch.float32


@pytest.mark.parametrize(
    ("able", "expected"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)],
)
def test_auto_takes_bfloat16_where_the_device_computes_in_it(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert pick_precision(CPU) is expected
    assert pick_precision(torch.device("cuda")) is torch.bfloat16


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision 'half' is unknown; choose auto, float32 or bfloat16"):
        pick_precision(CPU, "half")


def test_all_orientations_are_averaged():
    """A window that is not square, and with nodata in a corner."""
    segmenter, raw = small_segmenter(), raw_images(2, 16, 24)
    segmenter.orientations = "all"
    (found,) = predict_windows(segmenter, [raw])
    expected = torch.zeros_like(found)
    for turns in range(4):
        for mirrored in (False, True):
            seen = torch.rot90(raw, turns, (-2, -1))
            seen = segmenter.probabilities(seen.flip(-2) if mirrored else seen)
            expected += torch.rot90(seen.flip(-2) if mirrored else seen, 4 - turns, (-2, -1)) / 8
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, segmenter.probabilities(raw), atol=1e-3)


def test_a_turned_window_gets_the_turned_prediction_from_all_orientations():
    segmenter, raw = small_segmenter(), raw_images(1, 16, 16)
    segmenter.orientations = "all"
    one, turned = predict_windows(segmenter, [raw, torch.rot90(raw, 1, (-2, -1))])
    torch.testing.assert_close(torch.rot90(one, 1, (-2, -1)), turned)


def test_alternating_windows_are_turned_each_by_its_own_quarters():
    segmenter, raw = small_segmenter(), raw_images(3, 16, 16)
    segmenter.orientations = "alternating"
    (found,) = predict_windows(segmenter, [raw], [[0, 1, 3]])
    for window, probabilities, turns in zip(raw, found, (0, 1, 3), strict=True):
        seen = segmenter.probabilities(torch.rot90(window[None], turns, (-2, -1)))
        torch.testing.assert_close(probabilities[None], torch.rot90(seen, -turns, (-2, -1)))
    (unturned,) = predict_windows(segmenter, [raw])  # a patch alone has no neighbours to alternate with
    torch.testing.assert_close(unturned, segmenter.probabilities(raw))
