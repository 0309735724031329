"""Find the labels of a training that stand out: the champion, which has not learnt them, doubts them most."""

from collections.abc import Sequence

from catalog.context import Catalog
from catalog.records import Label
from imagery.classes import UNKNOWN, ClassScheme
from models.heads import merge_truth
from models.inference import predict_windows
from models.label_doubt import STANDS_OUT, doubt
from services.doubted_labels import DECIMALS, DoubtedLabel, Doubts
from services.places import raster_store
from workers.labelled_patches import LabelledPatchDataset
from workers.versions import LoadedVersion


def doubts_of(catalog: Catalog, champion: LoadedVersion, labels: Sequence[Label], scheme: ClassScheme) -> Doubts:
    """Return which labels stand out among those that the champion has not learnt.

    Predicts the patches of these labels once each. Call this before the training, which changes the weights of the
    champion in place where training goes on from it.

    Args:
        catalog: for the raster store.
        champion: the version that is served.
        labels: those of the training, each with its proposal, its patch and the scene loaded.
        scheme: the classes of the masks.

    Raises:
        SceneError: a scene cannot be read.
        StoreError: a mask cannot be read.
    """
    network, learnt = champion.segmenter, set(champion.card.labels.ids)
    new, found = 0, []
    for label in labels:
        if label.id in learnt:
            continue
        # A data set for each label: several labels of a patch are judged one by one.
        raw, mask = LabelledPatchDataset([label], network.channels, raster_store(catalog), scheme)[0]
        (probabilities,) = predict_windows(network, [raw[None]])
        merged = merge_truth(mask.numpy(), network.head, UNKNOWN)
        judged = doubt(probabilities[0].numpy(), merged, UNKNOWN)
        if judged is None:
            continue
        new += 1
        if judged > STANDS_OUT:
            found.append(DoubtedLabel(label=label.id, proposal=label.proposal.uid, doubt=round(judged, DECIMALS)))
    return Doubts(new, tuple(sorted(found, key=lambda item: (-item.doubt, item.label))))
