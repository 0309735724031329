import hashlib
import json
import shutil

import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.bundle import BundleError, read_bundle, read_card, write_bundle
from models.input_channels import InputChannel, channels_of_format_1
from models.logit_scaling import LogitScaling
from tests.models.cards import digital_numbers, origin
from tests.models.networks import raw_images, small_segmenter


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("version") / "bundle"
    card = write_bundle(directory, small_segmenter(normalization="batch"), origin())
    return directory, card


@pytest.fixture
def bundle(written, tmp_path):
    """A copy to damage."""
    return shutil.copytree(written[0], tmp_path / "bundle")


def change_card(directory, **changes) -> None:
    path = directory / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(directory, tensors) -> None:
    """Write other weights with the checksum that belongs to them."""
    save_file(tensors, directory / "weights.safetensors")
    data = (directory / "weights.safetensors").read_bytes()
    change_card(directory, weights_sha256=hashlib.sha256(data).hexdigest())


def test_bundle_is_three_files_named_by_their_checksums(written):
    directory, card = written
    assert sorted(path.name for path in directory.iterdir()) == ["card.json", "model.onnx", "weights.safetensors"]
    for name, checksum in (("weights.safetensors", card.weights_sha256), ("model.onnx", card.onnx_sha256)):
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == checksum


def test_round_trip_gives_the_same_network_and_card(written):
    directory, card = written
    segmenter, read = read_bundle(directory)
    original = small_segmenter(normalization="batch")
    assert read == card == read_card(directory)
    assert not segmenter.training
    assert segmenter.channels == card.channels == ("red", "nir")
    assert torch.equal(segmenter.probabilities(raw_images()), original.probabilities(raw_images()))


def test_reading_leaves_the_global_generator_alone(written):
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    read_bundle(written[0])
    assert torch.equal(torch.rand(1), expected)


def test_onnx_file_gives_the_same_probabilities(written):
    directory, _ = written
    session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"raw": raw_images().numpy()})
    torch.testing.assert_close(torch.from_numpy(found), read_bundle(directory)[0].probabilities(raw_images()))


def test_card_tells_origin_and_network(written):
    document = json.loads((written[0] / "card.json").read_text())
    assert document["format_version"] == 2
    stored = {"unit": "digital number", "computed_from": None, "scale": 1.0, "offset": 0.0}
    assert document["input_channels"] == [{"name": "red", **stored}, {"name": "nir", **stored}]
    assert (document["levels"], document["sensors"]) == ([], ["landsat-8-oli"])
    assert document["mean"] == [100.0, 50.0]
    assert document["unet"]["normalization"] == "batch"
    assert document["training"]["steps"] == 5
    assert document["metrics"]["test"]["iou"]["debris-covered ice"] is None
    assert document["created_at"] == "2026-01-02T03:04:05Z"


def test_second_bundle_replaces_the_first(bundle):
    card = write_bundle(bundle, small_segmenter(seed=1), origin())
    segmenter, read = read_bundle(bundle)
    assert read == card
    assert torch.equal(segmenter.unet.head.weight, small_segmenter(seed=1).unet.head.weight)


def test_classes_must_fit_the_network(tmp_path):
    with pytest.raises(ValueError, match=r"names 3 classes .* the network predicts 4"):
        write_bundle(tmp_path, small_segmenter(classes=4), origin())


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors"])
def test_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        read_bundle(bundle)


def test_damaged_weights_are_refused(bundle):
    path = bundle / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="was damaged or exchanged"):
        read_bundle(bundle)


def test_weights_of_another_shape_are_refused(bundle):
    change_weights(bundle, {name: t.contiguous() for name, t in small_segmenter(width=8).state_dict().items()})
    with pytest.raises(BundleError, match="do not fit the network that its card describes"):
        read_bundle(bundle)


def test_card_with_another_normalisation_is_refused(bundle):
    change_card(bundle, mean=[1.0, 2.0])
    with pytest.raises(BundleError, match=r"the mean in .* is \[100.0, 50.0\], its card says \[1.0, 2.0\]"):
        read_bundle(bundle)


def test_weights_in_half_precision_are_refused(bundle):
    weights = load_file(bundle / "weights.safetensors")
    change_weights(bundle, weights | {"mean": weights["mean"].half()})
    with pytest.raises(BundleError, match="the first is mean: expected"):
        read_bundle(bundle)


def test_what_is_no_safetensors_file_is_refused(bundle):
    data = b"\xff" * 64
    (bundle / "weights.safetensors").write_bytes(data)
    change_card(bundle, weights_sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(BundleError, match="does not hold a usable network"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format_version": 3}, "format_version"),
        ({"input_channels": []}, "input_channels describes"),
        ({"licence": "none"}, "licence"),
        ({"unet": {"in_channels": 2, "depth": 60}}, "depth"),
        ({"unet": {"in_channels": 2, "skip": True}}, "skip"),
        ({"weights_sha256": "../../etc"}, "weights_sha256"),
    ],
)
def test_card_is_closed(bundle, change, field):
    change_card(bundle, **change)
    with pytest.raises(BundleError, match=rf"(?s)breaks the schema of model cards.*{field}"):
        read_card(bundle)


def test_card_that_contradicts_itself_is_refused(bundle):
    (described, _) = json.loads((bundle / "card.json").read_text())["input_channels"]
    change_card(bundle, channels=["red"], input_channels=[described])
    with pytest.raises(BundleError, match="1 channel names, 2 means"):
        read_bundle(bundle)


def test_oversized_card_is_refused_unread(bundle):
    with (bundle / "card.json").open("r+b") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(BundleError, match="a card has at most 16777216"):
        read_card(bundle)


def test_a_version_of_a_release_that_named_two_networks_by_their_class_is_read(tmp_path):
    """Its tensors were called unet.clean... and unet.debris..., and its card named no classes of labels."""
    network = small_segmenter(head="two_binaries")
    directory = tmp_path / "bundle"
    written = write_bundle(directory, network, origin())
    former = {"unet.networks.0.": "unet.clean.", "unet.networks.1.": "unet.debris."}
    weights = load_file(directory / "weights.safetensors")
    for present, past in former.items():
        weights = {name.replace(present, past): tensor for name, tensor in weights.items()}
    assert sum(name.startswith("unet.clean.") for name in weights) == sum(
        name.startswith("unet.debris.") for name in weights
    )
    change_weights(directory, weights)
    as_format_1(directory)
    card = json.loads((directory / "card.json").read_text())
    del card["label_classes"]
    (directory / "card.json").write_text(json.dumps(card))

    read, found = read_bundle(directory)
    assert torch.equal(read.probabilities(raw_images()), network.probabilities(raw_images()))
    assert found.label_classes == written.label_classes
    assert found.precedence == (1, 2)


def as_format_1(directory, **changes) -> bytes:
    """Rewrite a card as the release before units wrote it; returns the new content."""
    card = json.loads((directory / "card.json").read_text())
    for later in ("input_channels", "levels", "sensors"):
        del card[later]
    text = "raw digital numbers, float32, (N, C, H, W)"
    (directory / "card.json").write_text(json.dumps(card | {"format_version": 1, "input": text} | changes, indent=2))
    return (directory / "card.json").read_bytes()


def test_a_card_without_units_is_of_digital_numbers_and_its_file_stays_as_it_is(bundle):
    content = as_format_1(bundle)
    _, card = read_bundle(bundle)
    assert (bundle / "card.json").read_bytes() == content
    assert card.input_channels == digital_numbers("red", "nir")
    assert (card.levels, card.sensors, card.input) == ((), (), "raw digital numbers, float32, (N, C, H, W)")
    assert json.loads(card.model_dump_json())["format_version"] == 2


def test_indices_and_relief_of_a_card_without_units_have_their_own():
    described = channels_of_format_1(["ndsi", "elevation", "slope", "thermal_low"])
    found = [(channel.unit, channel.computed_from) for channel in map(InputChannel.model_validate, described)]
    assert found == [("1", "digital number"), ("m", None), ("degree", None), ("digital number", None)]


def test_a_network_of_other_channels_than_its_origin_describes_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"describes the input channels \['red'\]; the network takes \['red', 'nir'\]"):
        write_bundle(tmp_path, small_segmenter(), origin(["red"]))


def test_the_onnx_file_says_what_its_input_is(tmp_path):
    reflectance = tuple(
        InputChannel(name=name, unit="reflectance", scale=2.75e-5, offset=-0.2) for name in ("red", "nir")
    )
    described = {"input_channels": reflectance, "levels": ("surface",)}
    card = write_bundle(tmp_path, small_segmenter(), origin().model_copy(update=described))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    found = session.get_modelmeta().custom_metadata_map
    assert json.loads(found["input_channels"]) == json.loads(card.model_dump_json())["input_channels"]
    assert (json.loads(found["levels"]), json.loads(found["channels"])) == (["surface"], ["red", "nir"])
    assert found["input"] == card.input
    assert onnx.load(tmp_path / "model.onnx").graph.input[0].doc_string == card.input


def test_a_network_of_other_classes_than_its_labels_is_not_written(tmp_path):
    reversed_order = tuple(item.model_copy(update={"precedence": 9 - item.value}) for item in origin().label_classes)
    with pytest.raises(ValueError, match=r"precedence \(1, 2\) in the network and \(2, 1\) in its origin"):
        write_bundle(tmp_path, small_segmenter(), origin().model_copy(update={"label_classes": reversed_order}))


def test_the_order_of_precedence_is_in_the_onnx_graph(tmp_path):
    """With both networks' outputs fixed, the class of the higher precedence gets its whole output."""
    network = small_segmenter(head="two_binaries")
    network.precedence = (2, 1)
    scheme = tuple(item.model_copy(update={"precedence": 9 - item.value}) for item in origin().label_classes)
    write_bundle(tmp_path, network, origin().model_copy(update={"label_classes": scheme}), tmp_path / "graphs")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {session.get_inputs()[0].name: raw_images().numpy()})
    with torch.no_grad():
        first = network(raw_images())[:, 0].sigmoid()
    torch.testing.assert_close(torch.from_numpy(found)[:, 1], first)


def test_the_calibration_is_in_the_card_the_network_and_the_onnx_graph(tmp_path):
    segmenter = small_segmenter()
    plain = segmenter.probabilities(raw_images())
    segmenter.calibrate(LogitScaling((0.5, 0.25, 0.125), (0.0, 0.75, -0.1)))
    segmenter.orientations = "alternating"
    card = write_bundle(tmp_path, segmenter, origin(), graphs=tmp_path / "graphs")
    read, _ = read_bundle(tmp_path)
    assert card.logit_scale == (0.5, 0.25, 0.125)
    assert read.orientations == "alternating"
    calibrated = segmenter.probabilities(raw_images())
    assert not torch.allclose(calibrated, plain, atol=1e-3)
    assert torch.equal(read.probabilities(raw_images()), calibrated)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"raw": raw_images().numpy()})
    torch.testing.assert_close(torch.from_numpy(found), calibrated)


def test_a_card_without_a_calibration_is_of_a_network_that_has_none(bundle):
    card = json.loads((bundle / "card.json").read_text())
    for name in ("logit_scale", "logit_shift", "orientations", "calibration"):
        del card[name]
    (bundle / "card.json").write_text(json.dumps(card))
    segmenter, _ = read_bundle(bundle)
    assert segmenter.logit_scale.tolist() == [1.0, 1.0, 1.0]
    assert segmenter.orientations == "one"


def test_a_calibration_of_another_number_of_logits_is_refused(bundle):
    change_card(bundle, logit_scale=[1.0, 1.0], logit_shift=[0.0, 0.0])
    with pytest.raises(BundleError, match="found 2 scales of logits"):
        read_bundle(bundle)
