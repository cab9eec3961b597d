"""One file a product: where it is published, how its files are named, how they are read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vadose.products.conusv4f1 import read_conusv4f1
from vadose.products.ismn import read_ismn
from vadose.products.scan import read_scan
from vadose.products.uscrn import read_uscrn


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
        "grid",
        "10.1002/2017GL075619",
        read_conusv4f1,
    ),
    "uscrn": Product("U.S. Climate Reference Network, daily", "station", "10.7289/V5H13007", read_uscrn),
    "scan": Product("Soil Climate Analysis Network, daily", "station", "10.1175/2007JTECHA930.1", read_scan),
    "ismn": Product("International Soil Moisture Network", "station", "10.5194/hess-25-5749-2021", read_ismn),
}
