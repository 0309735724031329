import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from models.modes import evaluating
from models.onnx_export import export_onnx
from models.segmenter import GlacierSegmenter
from tests.models.networks import raw_images, small_segmenter


@pytest.fixture(scope="module")
def segmenter() -> GlacierSegmenter:
    return small_segmenter(dropout=0.5, normalization="batch").train()


@pytest.fixture(scope="module")
def exported(segmenter, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(segmenter, path)
    return path


@pytest.fixture(scope="module")
def session(exported) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 16, 24), (2, 9, 14), (1, 1, 1), (1, 130, 47)])
def test_graph_gives_the_probabilities_of_torch_at_any_size(segmenter, session, shape):
    images = raw_images(*shape)
    (found,) = session.run(["probabilities"], {"raw": images.numpy()})
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, segmenter.probabilities(images).numpy(), atol=1e-5)


def test_graph_gives_the_features_that_the_logits_are_computed_from(segmenter, session):
    images = raw_images(2, 9, 14)
    probabilities, features = session.run(None, {"raw": images.numpy()})
    with evaluating(segmenter):
        expected, logits = segmenter.features_and_logits(images)
        torch.testing.assert_close(logits, segmenter(images))
        torch.testing.assert_close(segmenter.unet.head(expected), logits)
    assert features.shape == (2, segmenter.unet.config.width, 9, 14)
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(probabilities, segmenter.probabilities(images).numpy(), atol=1e-5)


def test_two_binary_networks_give_the_features_of_both(tmp_path):
    two = small_segmenter(head="two_binaries")
    export_onnx(two, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = raw_images(1, 8, 16)
    (features,) = session.run(["features"], {"raw": images.numpy()})
    with evaluating(two):
        one, other = (network.features(two.network_input(images)) for network in two.unet.each())
    np.testing.assert_allclose(features, torch.cat([one, other], dim=1).numpy(), atol=1e-5)


def test_patch_of_nodata_only_is_predicted_as_an_average_patch(segmenter, session):
    nothing = torch.full((1, 2, 8, 8), float("nan"))
    (found,) = session.run(["probabilities"], {"raw": nothing.numpy()})
    np.testing.assert_allclose(found, segmenter.probabilities(nothing).numpy(), atol=1e-5)
    assert np.isfinite(found).all()


def test_axes_are_named_and_free(exported):
    model = onnx.load(exported)
    onnx.checker.check_model(model)
    (image,) = model.graph.input
    axes = [axis.dim_param or axis.dim_value for axis in image.type.tensor_type.shape.dim]
    assert (image.name, axes) == ("raw", ["batch", 2, "height", "width"])


def test_one_file_holds_the_weights_too(exported):
    assert [path.name for path in exported.parent.iterdir()] == ["model.onnx"]


def test_network_is_left_as_it_was(segmenter, exported):
    assert all(module.training for module in segmenter.modules())


def test_export_says_nothing(tmp_path, capfd):
    with_level = logging.getLogger("torch.onnx._internal.exporter._registration").level
    segmenter = small_segmenter()
    export_onnx(segmenter, tmp_path / "quiet.onnx")
    assert capfd.readouterr() == ("", "")
    assert not segmenter.training
    assert logging.getLogger("torch.onnx._internal.exporter._registration").level == with_level


@pytest.mark.parametrize(("head", "input_normalization"), [("multiclass", "dataset"), ("two_binaries", "patch")])
def test_a_kept_graph_serves_all_networks_of_its_shape(head, input_normalization, tmp_path):
    """The second network differs in every weight, in the batch norms' statistics and in the normalisation."""
    first = small_segmenter(0, head, input_normalization, normalization="batch")
    export_onnx(first, tmp_path / "first.onnx", tmp_path / "graphs")
    (kept,) = (tmp_path / "graphs").glob("*.onnx")
    found_at = kept.stat().st_mtime_ns
    second = small_segmenter(1, head, input_normalization, normalization="batch")
    for name, tensor in second.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.mul_(1.1)
    export_onnx(second, tmp_path / "second.onnx", tmp_path / "graphs")
    assert list((tmp_path / "graphs").glob("*.onnx")) == [kept]
    assert kept.stat().st_mtime_ns == found_at
    images = raw_images(2, 9, 14)
    for path, segmenter in ((tmp_path / "first.onnx", first), (tmp_path / "second.onnx", second)):
        (found,) = onnxruntime.InferenceSession(path).run(["probabilities"], {"raw": images.numpy()})
        np.testing.assert_allclose(found, segmenter.probabilities(images).numpy(), atol=1e-5)


def test_another_shape_has_another_graph(tmp_path):
    for width in (4, 6):
        export_onnx(small_segmenter(width=width), tmp_path / "model.onnx", tmp_path / "graphs")
    assert len(list((tmp_path / "graphs").glob("*.onnx"))) == 2


def test_a_damaged_graph_is_traced_again(tmp_path):
    export_onnx(small_segmenter(), tmp_path / "model.onnx", tmp_path / "graphs")
    (kept,) = (tmp_path / "graphs").glob("*.onnx")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    export_onnx(small_segmenter(), tmp_path / "again.onnx", tmp_path / "graphs")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()
