/** Which tiles of a layer on a map could not be loaded, and why. */

import DataTile from "ol/DataTile";
import type OlMap from "ol/Map";
import { intersects } from "ol/extent";
import type TileLayer from "ol/layer/Tile";
import type TileSource from "ol/source/Tile";
import type { TileSourceEvent } from "ol/source/Tile";

export interface FailedTile {
  tile: DataTile;
  error: Error;
  /** It is being asked for again. */
  isTried: boolean;
}

export class TileWatch {
  private readonly failed = new Map<string, FailedTile>();
  private readonly source: TileSource;
  private readonly onError = (event: unknown): void => {
    const { tile } = event as TileSourceEvent;
    if (!(tile instanceof DataTile)) return;
    const error = tile.getError() ?? new Error("the tile could not be loaded");
    this.failed.set(String(tile.tileCoord), { tile, error, isTried: false });
    this.changed();
  };
  private readonly onLoad = (event: unknown): void => {
    if (!this.failed.delete(String((event as TileSourceEvent).tile.tileCoord))) return;
    this.layer.changed(); // the map draws by itself only what it asked for
    this.changed();
  };

  /** @param changed - called when a tile failed, or one that had failed came */
  constructor(
    private readonly layer: TileLayer<TileSource>,
    private readonly map: OlMap,
    private readonly changed: () => void,
  ) {
    this.source = layer.getSource() as TileSource;
    this.source.addEventListener("tileloaderror", this.onError);
    this.source.addEventListener("tileloadend", this.onLoad);
  }

  /** The tiles that failed and would show now: of this zoom, and in view. */
  inView(): FailedTile[] {
    const view = this.map.getView();
    const [grid, resolution] = [this.source.getTileGrid(), view.getResolution()];
    if (!this.failed.size || !grid || resolution === undefined) return [];
    const zoom = grid.getZForResolution(resolution, this.source.zDirection);
    const shown = view.calculateExtent(this.map.getSize());
    return [...this.failed.values()].filter(({ tile: { tileCoord } }) => tileCoord[0] === zoom && intersects(grid.getTileCoordExtent(tileCoord), shown));
  }

  /** Ask once more for the tiles that failed and would show now. */
  again(): void {
    for (const failed of this.inView()) {
      failed.isTried = true;
      failed.tile.load();
    }
    this.changed();
  }

  stop(): void {
    this.source.removeEventListener("tileloaderror", this.onError);
    this.source.removeEventListener("tileloadend", this.onLoad);
  }
}
