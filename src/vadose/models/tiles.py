"""Whole maps forecast in tiles that overlap by as far as a network sees, so that no seam is left."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vadose.models.inputs import Inputs


@torch.no_grad()
def predict_tiles(
    model: Callable[[Inputs], Tensor], inputs: Inputs, *, tile: int | tuple[int, int], halo: int
) -> Tensor:
    """Forecast a map piece by piece; the same as of the whole at once, in a fraction of its memory.

    Each piece is a tile and ``halo`` cells around it, of which the tile is kept. At the border of the map a piece
    ends where the map does and reaches further inward instead: it meets the network's own padding as the whole map
    would, and all pieces are of one size, so that a compiled network is compiled once. Where the halo is the
    network's ``reach`` or more, tiles differ from the whole by rounding only.

    Parameters
    ----------
    model
        In evaluation mode. Any function of the inputs to (B, ..., H, W) does; for a mean and a deviation:
        ``lambda inputs: torch.stack(model.distribution(inputs), dim=1)``.
    inputs
        Of the whole map; slices of it are passed on, and ``cell`` says where each begins.
    tile
        Rows and columns of what is kept of a piece, or the edge of a square.
    halo
        Cells around it.

    Raises
    ------
    ValueError
        For a tile below 1, a halo below 0, or a model in training mode, whose dropout and batch statistics would
        differ between tiles.

    Examples
    --------
    >>> from vadose.models.convlstm import ConvLSTM
    >>> from vadose.models.inputs import Channels, example_inputs
    >>> channels = Channels(("soil_moisture_filled",), target="soil_moisture_filled")
    >>> model, inputs = ConvLSTM(channels, filters=(4,)).eval(), example_inputs(channels, size=20)
    >>> whole = model(inputs)
    >>> tiled = predict_tiles(model, inputs, tile=7, halo=3)
    >>> bool(torch.allclose(tiled, whole, atol=1e-5))
    True
    """
    edges = tile if isinstance(tile, tuple) else (tile, tile)
    if min(edges) < 1 or halo < 0:
        raise ValueError(f"tile of {tile} cells with a halo of {halo}: a tile has 1 cell at least, a halo 0")
    if getattr(model, "training", False):
        raise ValueError("the model is in training mode, in which tiles differ; call its eval() first")
    shape = inputs.history.shape[-2:]
    rows, columns = (list(_pieces(cells, edge, halo)) for cells, edge in zip(shape, edges, strict=True))
    out: Tensor | None = None
    for to_rows, of_rows, from_rows in rows:
        for to_columns, of_columns, from_columns in columns:
            piece = model(cut(inputs, from_rows, from_columns))
            if out is None:
                out = piece.new_empty(*piece.shape[:-2], *shape)
            out[..., to_rows, to_columns] = piece[..., of_rows, of_columns]
    assert out is not None
    return out


def tile_of(shape: tuple[int, int], halo: int, most: int) -> tuple[int, int]:
    """Rows and columns of the tiles of a map of which least is computed twice.

    Parameters
    ----------
    shape
        Rows and columns of the map.
    halo
        Cells around a tile that are computed with it.
    most
        Cells of a tile and its halo, at most, where the halo allows.

    Examples
    --------
    >>> tile_of((340, 700), halo=8, most=1 << 16), tile_of((340, 700), halo=8, most=1 << 14)
    ((340, 175), (85, 140))
    >>> tile_of((40, 50), halo=8, most=1 << 16)
    (40, 50)
    """

    def size(tile: int, cells: int) -> int:
        return min(tile + 2 * halo, cells)

    def computed(tile: tuple[int, int]) -> int:
        return math.prod(math.ceil(n / edge) * size(edge, n) for edge, n in zip(tile, shape, strict=True))

    tiles = []
    for parts in range(1, shape[0] + 1):
        rows = math.ceil(shape[0] / parts)
        width = most // size(rows, shape[0])
        widest = shape[1] if width >= shape[1] else max(width - 2 * halo, 1)
        if width > 2 * halo or rows == 1:
            tiles.append((rows, math.ceil(shape[1] / math.ceil(shape[1] / widest))))
    return min(tiles, key=computed)


def _pieces(cells: int, tile: int, halo: int) -> Iterator[tuple[slice, slice, slice]]:
    """Along an axis: where each tile lies in the map, where in its piece, and where the piece lies in the map."""
    size = min(tile + 2 * halo, cells)
    for first in range(0, cells, tile):
        last = min(first + tile, cells)
        start = min(max(first - halo, 0), cells - size)
        yield slice(first, last), slice(first - start, last - start), slice(start, start + size)


def cut(inputs: Inputs, rows: slice, columns: slice) -> Inputs:
    """The part of a map in some rows and columns."""

    def part(maps: Tensor) -> Tensor:
        return maps[..., rows, columns]

    return Inputs(
        history=part(inputs.history),
        static=part(inputs.static),
        future=None if inputs.future is None else part(inputs.future),
        day=inputs.day,
        cell=inputs.cell + torch.tensor([rows.start, columns.start], device=inputs.cell.device),
        above=None if inputs.above is None else part(inputs.above),
    )
