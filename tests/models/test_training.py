from collections.abc import Iterator

import pytest
import torch
from pydantic import ValidationError

from models.combined_losses import dice_cross_entropy
from models.inference import pick_precision
from models.logit_scaling import LogitScaling
from models.training import StepReport, fit
from models.training_config import TrainingConfig
from tests.models.cards import CLASSES
from tests.models.networks import raw_images, small_segmenter

CPU = torch.device("cpu")
IGNORE = 255


def bright_is_ice(count: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """16 x 16 px patches of bright ice and dark ground in 4 x 4 px blocks; nodata and two rows are not judged."""
    generator = torch.Generator().manual_seed(0)
    ice = torch.rand(count, 4, 4, generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2) > 0.5
    raw = raw_images(count, 16, 16)
    raw[:, 0] += torch.where(ice, 30.0, -30.0)
    masks = ice.to(torch.uint8)
    masks[raw[:, 0].isnan()] = IGNORE
    masks[:, -2:] = IGNORE
    return list(zip(raw, masks, strict=True))


def train(seed: int = 0, steps: int = 4, **settings):
    segmenter = small_segmenter()
    losses = fit(segmenter, bright_is_ice(), TrainingConfig(steps=steps, seed=seed, **settings), CPU, IGNORE)
    return segmenter, losses


def weights_of(segmenter) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in segmenter.parameters()])


def test_a_rule_is_learned():
    segmenter = small_segmenter(dropout=0.05)
    losses = fit(segmenter, bright_is_ice(), TrainingConfig(steps=80, learning_rate=1e-2), CPU, IGNORE)
    assert len(losses) == 80
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    raw, mask = bright_is_ice()[0]
    predicted = segmenter.probabilities(raw[None])[0].argmax(0)
    assert (predicted == mask)[mask != IGNORE].float().mean() > 0.9


@pytest.mark.parametrize("loss", ["cross_entropy", "dice", "dice_cross_entropy"])
def test_one_step_moves_every_tensor(loss):
    """Published code froze all layers by mistake, so that fine-tuning trained nothing."""
    segmenter = small_segmenter(dropout=0.0)
    before = {name: parameter.clone() for name, parameter in segmenter.named_parameters()}
    fit(segmenter, bright_is_ice(), TrainingConfig(steps=1, loss=loss), CPU, IGNORE)
    unmoved = [name for name, parameter in segmenter.named_parameters() if torch.equal(before[name], parameter)]
    assert unmoved == []


def test_what_is_learnt_is_what_a_plain_loop_learns():
    """One patch, no dropout: nothing is drawn, so that the plain loop sees the same batches."""
    raw, mask = bright_is_ice()[0]
    fitted, plain = small_segmenter(dropout=0.0), small_segmenter(dropout=0.0).train()
    settings = {"augment": False, "balance": False, "precision": "float32"}
    losses = fit(fitted, [(raw, mask)], TrainingConfig(steps=10, batch_size=2, **settings), CPU, IGNORE)
    optimiser = torch.optim.AdamW(plain.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=10)
    expected = []
    for _ in range(10):
        loss = dice_cross_entropy(plain(torch.stack([raw, raw])), torch.stack([mask, mask]), IGNORE)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        expected.append(loss.item())
    assert losses == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(weights_of(fitted), weights_of(plain), rtol=1e-3, atol=1e-4)


def test_bfloat16_starts_from_the_same_loss_to_its_three_digits_and_keeps_float32_weights():
    exact, rounded = (train(precision=precision) for precision in ("float32", "bfloat16"))
    assert rounded[1][0] == pytest.approx(exact[1][0], rel=0.01)
    assert rounded[1] != exact[1]
    assert {parameter.dtype for parameter in rounded[0].parameters()} == {torch.float32}


def test_normalisation_is_not_trained():
    segmenter, _ = train()
    assert segmenter.mean.tolist() == [100.0, 50.0]
    assert segmenter.std.tolist() == [20.0, 10.0]


def test_seed_decides_everything():
    torch.manual_seed(1)
    segmenter, losses = train(seed=3)
    torch.manual_seed(2)
    again, losses_again = train(seed=3)
    other, _ = train(seed=4)
    assert losses == losses_again
    assert torch.equal(weights_of(segmenter), weights_of(again))
    assert not torch.equal(weights_of(segmenter), weights_of(other))


def test_global_generator_is_given_back():
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    train()
    assert torch.equal(torch.rand(1), expected)


def test_training_continues_from_the_weights_it_is_given():
    segmenter, _ = train(steps=60, learning_rate=1e-2)
    first_loss_fresh = train(steps=1)[1][0]
    warm = fit(segmenter, bright_is_ice(), TrainingConfig(steps=1), CPU, IGNORE)[0]
    assert warm < first_loss_fresh


def test_network_is_left_in_evaluation_mode():
    segmenter, _ = train()
    assert not any(module.training for module in segmenter.modules())


def test_progress_is_reported_after_each_step():
    reports: list[StepReport] = []
    losses = fit(small_segmenter(), bright_is_ice(), TrainingConfig(steps=3), CPU, IGNORE, reports.append)
    assert reports == [StepReport(step, 3, losses[step - 1]) for step in (1, 2, 3)]


def test_interruption_reaches_the_caller_and_leaves_evaluation_mode():
    segmenter = small_segmenter()

    def interrupt(report: StepReport) -> None:
        if report.step == 2:
            raise TimeoutError("the job ran out of time")

    with pytest.raises(TimeoutError, match="ran out of time"):
        fit(segmenter, bright_is_ice(), TrainingConfig(steps=5), CPU, IGNORE, interrupt)
    assert not segmenter.training


def test_patch_that_nobody_judged_is_left_out():
    dataset = bright_is_ice()
    blank = torch.full_like(dataset[0][0], float("nan")), torch.full_like(dataset[0][1], IGNORE)
    losses = fit(small_segmenter(), [blank, dataset[0]], TrainingConfig(steps=5), CPU, IGNORE)
    assert len(losses) == 5
    assert all(0.0 < loss < 10.0 for loss in losses)


@pytest.mark.parametrize("head", ["binary", "two_binaries"])
def test_one_step_moves_every_tensor_of_a_binary_head(head):
    segmenter = small_segmenter(head=head, dropout=0.0)
    before = {name: parameter.clone() for name, parameter in segmenter.named_parameters()}
    fit(segmenter, bright_is_ice(), TrainingConfig(steps=1), CPU, IGNORE)
    assert all(not torch.equal(before[name], parameter) for name, parameter in segmenter.named_parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "adadelta"])
@pytest.mark.parametrize("schedule", ["cosine", "plateau", "constant"])
def test_every_optimiser_and_schedule_learns(optimizer, schedule):
    rate = 1.0 if optimizer == "adadelta" else 1e-2
    config = TrainingConfig(steps=30, optimizer=optimizer, schedule=schedule, learning_rate=rate, weight_decay=0.0)
    losses = fit(small_segmenter(dropout=0.0), bright_is_ice(), config, CPU, IGNORE, validate=lambda _: 0.0)
    assert sum(losses[-5:]) < sum(losses[:5])


def test_l1_penalty_shrinks_the_weights_of_convolutions():
    sums = [
        sum(p.abs().sum().item() for p in train(steps=20, l1=l1, weight_decay=0.0)[0].parameters() if p.ndim > 1)
        for l1 in (0.0, 0.1)
    ]
    assert sums[1] < 0.95 * sums[0]


def test_l1_penalty_covers_biases_and_batch_norms_if_asked_for():
    """One step of plain descent direction: Adam moves what has a gradient by the learning rate, whatever its size."""

    def batch_norm_after(covers: str) -> torch.Tensor:
        segmenter = small_segmenter(normalization="batch", dropout=0.0)
        config = TrainingConfig(
            steps=1, optimizer="adam", learning_rate=1e-2, weight_decay=0.0, l1=1e3, l1_covers=covers
        )
        fit(segmenter, bright_is_ice(), config, CPU, IGNORE)
        return segmenter.unet.encoder[0][1].weight.detach()

    everything, convolutions = (batch_norm_after(covers) for covers in ("all", "convolutions"))
    assert everything.tolist() == pytest.approx([0.99] * 4, abs=1e-4)  # 1 less the step, as L1 outweighs the loss
    assert (convolutions - 0.99).abs().max() > 1e-3


def rates(scores: Iterator[float], **settings) -> list[float]:
    """The learning rate after each of the steps, with a validation after each."""
    seen: list[float] = []

    def on_step(report: StepReport) -> None:
        assert report.state is not None
        seen.append(report.state().numbers["groups"][0]["lr"])

    config = TrainingConfig(
        steps=6, schedule="plateau", learning_rate=1e-2, validate_every_steps=1, weight_decay=0.0, **settings
    )
    segmenter = small_segmenter()
    fit(
        segmenter,
        bright_is_ice(),
        config,
        CPU,
        IGNORE,
        on_step,
        lambda _: next(scores),
        validation_patches=[_frozen_patch()],
    )
    return seen


def _frozen_patch() -> tuple[torch.Tensor, torch.Tensor]:
    """A patch that nobody judged: its loss is 0 after every step, and so never improves on the first."""
    raw, mask = bright_is_ice()[0]
    return raw, torch.full_like(mask, IGNORE)


def test_the_plateau_lowers_the_rate_after_its_patience():
    """The first score is the best. Patience 2: the third without improvement lowers the rate; patience 0: every one."""
    assert rates(iter([1.0] * 6)) == pytest.approx([1e-2, 1e-2, 1e-2, 1e-3, 1e-3, 1e-3])
    assert rates(iter([1.0] * 6), plateau_patience=0) == pytest.approx([1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7])


def test_the_plateau_does_not_go_below_the_least_rate():
    found = rates(iter([1.0] * 6), plateau_patience=0, least_learning_rate=5e-4)
    assert found == pytest.approx([1e-2, 1e-3, 5e-4, 5e-4, 5e-4, 5e-4])


def test_the_plateau_can_watch_the_validation_loss_whatever_the_score():
    rising = iter(float(score) for score in range(6))
    found = rates(rising, plateau_patience=1, plateau_watches="loss")
    assert found == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4])


def test_the_validation_loss_is_the_mean_of_the_loss_over_batches_in_evaluation_mode():
    """As its value decides when the rate falls, a lower loss must keep the rate: here it falls at every step."""
    segmenter, seen = small_segmenter(dropout=0.0), []
    config = TrainingConfig(
        steps=12, schedule="plateau", plateau_watches="loss", plateau_patience=0, validate_every_steps=3
    )

    def on_step(report: StepReport) -> None:
        assert report.state is not None
        if report.step % 3 == 0:
            plateau = report.state().numbers["schedule"]
            images, masks = (torch.stack(parts) for parts in zip(*bright_is_ice(3), strict=True))
            with torch.no_grad():
                expected = dice_cross_entropy(segmenter.eval()(images), masks, IGNORE, None)
            segmenter.train()
            seen.append((plateau["best"], expected.item()))

    fit(segmenter, bright_is_ice(3), config, CPU, IGNORE, on_step, validation_patches=bright_is_ice(3))
    assert [best for best, _ in seen] == pytest.approx([loss for _, loss in seen], rel=1e-4)


def test_a_watched_validation_loss_needs_patches():
    with pytest.raises(ValueError, match="watches the validation loss, but there is no validation patch"):
        train(schedule="plateau", plateau_watches="loss")


def test_boundary_classes_reach_the_loss():
    first = {
        classes: train(steps=1, loss="combined", boundary_classes=classes)[1][0] for classes in ("foreground", "all")
    }
    assert first["foreground"] != first["all"]


def test_a_small_augmented_share_leaves_patches_as_they_are():
    """With one patch, no dropout and next to no augmentation a training is the one without augmentation."""
    data = bright_is_ice()[:1]

    def losses(**settings) -> list[float]:
        config = TrainingConfig(steps=3, balance=False, precision="float32", **settings)
        return fit(small_segmenter(dropout=0.0), data, config, CPU, IGNORE)

    assert losses(augmented_share=1e-9) == losses(augment=False)
    assert losses(augmented_share=1.0) != losses(augment=False)


def test_the_best_validation_is_kept():
    """Scores 1, 5, 3 after steps 2, 4 and 5: the weights of step 4 come back."""
    seen: list[torch.Tensor] = []
    scores = iter([1.0, 5.0, 3.0])

    def validate(segmenter) -> float:
        assert not segmenter.training
        seen.append(weights_of(segmenter).clone())
        return next(scores)

    segmenter = small_segmenter()
    config = TrainingConfig(steps=5, validate_every_steps=2, keep_best=True)
    fit(segmenter, bright_is_ice(), config, CPU, IGNORE, validate=validate)
    assert torch.equal(weights_of(segmenter), seen[1])


def test_validation_does_not_change_the_training():
    plain, _ = train()
    validated = small_segmenter()
    config = TrainingConfig(steps=4, validate_every_steps=1)
    fit(validated, bright_is_ice(), config, CPU, IGNORE, validate=lambda _: 0.0)
    assert torch.equal(weights_of(plain), weights_of(validated))


@pytest.mark.parametrize("settings", [{"schedule": "plateau"}, {"keep_best": True}])
def test_missing_validation_is_refused(settings):
    with pytest.raises(ValueError, match="needs a validation score"):
        train(**settings)


@pytest.mark.parametrize(
    ("head", "prefixes"), [("binary", [""]), ("two_binaries", ["clean ice.", "debris-covered ice."])]
)
def test_weights_that_slba_learns_are_reported(head, prefixes):
    reports: list[StepReport] = []
    config = TrainingConfig(steps=3, loss="slba", learning_rate=1e-2)
    fit(small_segmenter(head=head), bright_is_ice(), config, CPU, IGNORE, reports.append, class_names=CLASSES)
    learned = reports[-1].learned
    assert {f"{prefix}a1" for prefix in prefixes} <= set(learned)
    assert learned[f"{prefixes[0]}a1"] != 1.0


def test_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="the dataset is empty"):
        fit(small_segmenter(), [], TrainingConfig(), CPU, IGNORE)


def test_infinite_image_is_refused_before_it_reaches_the_weights():
    segmenter = small_segmenter()
    before = weights_of(segmenter)
    raw, mask = bright_is_ice()[0]
    with pytest.raises(FloatingPointError, match="at step 1"):
        fit(segmenter, [(raw.masked_fill(raw > 100, float("inf")), mask)], TrainingConfig(), CPU, IGNORE)
    assert torch.equal(weights_of(segmenter), before)


@pytest.fixture
def threads() -> Iterator[None]:
    """Give the number of CPU threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_is_asked_for_stays(precision):
    for count in (1, 2):
        torch.set_num_threads(count)
        assert TrainingConfig(precision=precision).resolve_precision(CPU) == TrainingConfig(precision=precision)


@pytest.mark.usefixtures("threads")
def test_automatic_precision_is_the_devices_on_one_thread_and_float32_on_several():
    torch.set_num_threads(1)
    of_device = {torch.float32: "float32", torch.bfloat16: "bfloat16"}[pick_precision(CPU)]
    assert TrainingConfig(steps=7).resolve_precision(CPU) == TrainingConfig(steps=7, precision=of_device)
    torch.set_num_threads(2)
    assert TrainingConfig(steps=7).resolve_precision(CPU) == TrainingConfig(steps=7, precision="float32")


def test_configuration_survives_json():
    config = TrainingConfig(steps=7, learning_rate=1e-4, loss="dice", augment=False)
    assert TrainingConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "document",
    [
        {"step": 3},
        {"steps": 0},
        {"augmented_share": 0.0},
        {"plateau_patience": -1},
        {"l1_covers": "none"},
        {"steps": "3"},
        {"learning_rate": 0.0},
        {"loss": "focal"},
        {"seed": -1},
    ],
)
def test_configuration_is_closed(document):
    with pytest.raises(ValidationError):
        TrainingConfig.from_json(document)


def test_a_calibration_of_earlier_weights_does_not_outlive_them():
    segmenter = small_segmenter()
    segmenter.calibrate(LogitScaling((0.5, 0.5, 0.5), (0.0, 0.1, 0.2)))
    fit(segmenter, bright_is_ice(), TrainingConfig(steps=1), CPU, IGNORE)
    assert segmenter.logit_scale.tolist() == [1.0, 1.0, 1.0]
    assert segmenter.logit_shift.tolist() == [0.0, 0.0, 0.0]
