"""What prior outlines say of the patches of a shard: how far the model version contradicts them, and where ice was."""

from collections.abc import Iterable, Iterator, Sequence

from catalog.records import Patch, Shard
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.maps import read_map
from imagery.store import RasterStore
from services import raster_keys
from services.prior_disagreement import PRIOR_DISAGREEMENT, contradicted
from services.prior_outlines import told_apart
from services.scenes import priors_of
from workers.scored_maps import Decide, ScoredWindow, window_of_shard


class PriorScores:
    """The measure `PRIOR_DISAGREEMENT` of the patches of a shard, in [0, 1]; none without prior outlines.

    It comes from classes and entropy alone, so that a screening pass gives it as all passes do.

    Args:
        store: Where the weak mask is.
        shard: With its scene.
        decide: How probabilities become classes.
        scheme: The classes.
    """

    def __init__(self, store: RasterStore, shard: Shard, decide: Decide, scheme: ClassScheme) -> None:
        self._shard, self._decide = shard, decide
        self._shares: dict[tuple[int, int], float] = {}
        self._foreground: dict[tuple[int, int], float] = {}
        prior = priors_of(shard.scene)
        self._weak = None
        if prior is not None:
            self._told = told_apart({layer.class_name for layer in prior.layers}, scheme)
            self._weak = read_map(store.uri(raster_keys.prior(shard.scene_id)), window_of_shard(shard))

    def watch(self, windows: Iterable[ScoredWindow]) -> Iterator[ScoredWindow]:
        """Yield scored windows unchanged, and score them."""
        for window, layers in windows:
            if self._weak is not None:
                row = window.row_off - self._shard.first_row
                weak = self._weak[row : row + window.height, window.col_off : window.col_off + window.width]
                probability, entropy, invalid = layers[:-2], layers[-2], layers[-1] > 0
                classes = self._decide(probability)
                classes[invalid] = UNKNOWN
                found = contradicted(classes, entropy, weak, self._told, len(probability))
                self._shares[window.row_off, window.col_off] = float(found.mean())
                is_foreground = (weak != BACKGROUND) & (weak != UNKNOWN)
                self._foreground[window.row_off, window.col_off] = float(is_foreground.mean())
            yield window, layers

    def foreground(self, patches: Sequence[Patch]) -> dict[int, float]:
        """Return the share of foreground in the prior outlines by patch id, of the patches that have been watched."""
        places = {(patch.row_off, patch.col_off): patch.id for patch in patches}
        return {places[place]: share for place, share in self._foreground.items()}

    def rows(self, patches: Sequence[Patch]) -> list[dict[str, object]]:
        """Return the rows for the table of scores."""
        return [
            {
                "scoring_id": self._shard.scoring_id,
                "patch_id": patch.id,
                "measure": PRIOR_DISAGREEMENT,
                "screening": False,
                "value": self._shares[patch.row_off, patch.col_off],
            }
            for patch in patches
            if (patch.row_off, patch.col_off) in self._shares
        ]
