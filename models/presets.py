"""The published networks and ours: architecture, head, input and training.

Settings and experiments choose an entry of ``PRESETS`` by name. Comments mark choices that a paper leaves open.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from models.heads import Head, logits_per_network
from models.segmenter import InputNormalization
from models.training_config import TrainingConfig
from models.unet import UNetConfig

Architecture = Literal["default", "baraka", "aryal", "he"]


@dataclass(frozen=True)
class Preset:
    """How a network is built and trained.

    Attributes:
        unet: Architecture, with the channels of the paper; with the head "two_binaries" that of each network.
        head: The task head.
        input_normalization: Whether images are normalised by the statistics of the data set or of each patch.
        channel_set: Name of the channels of the paper; None takes all bands of the scenes.
        patch_size_px: Side of the training patches.
        training: Optimiser, schedule and loss. The number of steps is ours, since papers count epochs over
            their own data.
    """

    unet: UNetConfig
    head: Head
    input_normalization: InputNormalization
    channel_set: str | None
    patch_size_px: int
    training: TrainingConfig

    def network(self, channels: int, classes: int, head: Head) -> UNetConfig:
        """Return the architecture for other channels, classes or another head.

        Args:
            channels: Number of input channels.
            classes: Number of classes in the labels.
            head: The task head.

        Returns:
            The architecture; with the head "two_binaries" that of each network.
        """
        return replace(self.unet, in_channels=channels, classes=logits_per_network(head, classes))


PRESETS: Final[Mapping[Architecture, Preset]] = MappingProxyType(
    {
        # The best with few labels in our comparison (docs/benchmarks.md).
        "default": Preset(
            unet=UNetConfig(in_channels=4, depth=5, width=16, dropout=0.1, normalization="batch"),
            head="multiclass",
            input_normalization="dataset",
            channel_set=None,
            patch_size_px=512,
            # The average steadies what few labels teach, and costs nothing (docs/benchmarks.md).
            training=TrainingConfig(ema_decay=0.98),
        ),
        # Baraka et al. 2020, appendix A. L1 as in the text; the default configuration of the code drops it. From the
        # code (github.com/krisrs1128/glacier_mapping): the penalty is on all parameters (reg.py), nothing is augmented
        # (data.py), weights are drawn by torch's default (unet_dropout.py). The code also divides the learning rate by
        # 10 after 10 epochs without a lower validation loss; the paper does not, and the rate is constant here.
        "baraka": Preset(
            unet=UNetConfig(in_channels=15, depth=5, width=16, dropout=0.3, initialization="torch"),
            head="multiclass",
            input_normalization="patch",
            channel_set="baraka",
            patch_size_px=512,
            training=TrainingConfig(
                optimizer="adam",
                schedule="constant",
                learning_rate=1e-4,
                weight_decay=0.0,
                l1=5e-4,
                l1_covers="all",
                loss="dice",
                augment=False,
                balance=False,
            ),
        ),
        # Aryal et al. 2023, sections 2 and 3. From the code (github.com/Aryal007/glacier_mapping): the learning rate;
        # its schedule, a tenth after 15 epochs without a lower validation loss, down to 1e-9 (frame.py), where we count
        # validations; torch's default weights (unet.py); and the boundaries of background as well (losses.py).
        "aryal": Preset(
            unet=UNetConfig(
                in_channels=8,
                classes=1,
                depth=4,
                width=32,
                dropout=0.1,
                normalization="batch",
                activation="gelu",
                layer_order="conv-norm-act",
                initialization="torch",
            ),
            head="two_binaries",
            input_normalization="dataset",
            channel_set="aryal",
            patch_size_px=512,
            training=TrainingConfig(
                optimizer="adam",
                schedule="plateau",
                plateau_watches="loss",
                plateau_patience=15,
                least_learning_rate=1e-9,
                learning_rate=3e-4,
                weight_decay=0.0,
                loss="slba",
                boundary_classes="all",
                # The paper rotates or flips 15 % of the patches; one of our eight symmetries changes nothing.
                augmented_share=0.15 * 8 / 7,
                balance=False,
            ),
        ),
        # He et al. 2020, section 3.2. The paper has no dropout, so all passes of Monte Carlo dropout would be equal:
        # set a dropout to use the network in active learning. The paper does not state the number of feature maps: 32,
        # doubled five times, gives the 1024 of Ronneberger et al., to which it refers. The learning rate
        # is the 1 of Zeiler 2012.
        "he": Preset(
            unet=UNetConfig(
                in_channels=3,
                classes=1,
                depth=5,
                width=32,
                dropout=0.0,
                normalization="batch",
                layer_order="conv-act-norm",
            ),
            head="binary",
            input_normalization="dataset",
            channel_set="he",
            patch_size_px=128,
            training=TrainingConfig(
                optimizer="adadelta",
                schedule="constant",
                learning_rate=1.0,
                weight_decay=0.0,
                batch_size=8,
                keep_best=True,
                loss="binary_cross_entropy",
                balance=False,
            ),
        ),
    }
)
