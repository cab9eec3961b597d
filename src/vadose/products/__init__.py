"""One file a product: where it is published, how its files are named, how they are read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vadose.products.conusv4f1 import read_conusv4f1


@dataclass(frozen=True)
class Product:
    """What is known of a product: ``kind`` is 'grid' or 'station', ``doi`` says where it is published."""

    title: str
    kind: str
    doi: str
    read: Callable[[Path], Any]


PRODUCTS: dict[str, Product] = {
    "conusv4f1": Product(
        "hydroDL CSV database: SMAP L3 and NLDAS-2 at every fourth 36 km cell of CONUS",
        "grid", "10.1002/2017GL075619", read_conusv4f1,
    ),
}
