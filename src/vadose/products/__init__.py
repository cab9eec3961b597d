"""One file a product: where it is published, how its files are named, how they are read."""

from pathlib import Path

from vadose.errors import VadoseError
from vadose.products import (
    conusv4f1,
    dem,
    gldas,
    gridmet,
    hls,
    imerg,
    ismn,
    landsat,
    mcd12q1,
    mod09cmg,
    mod09ga,
    mod11a1,
    mod15a2h,
    nlcd,
    nldas,
    polaris,
    scan,
    sentinel1,
    smap_hydroblocks,
    smap_india,
    smap_l2,
    smap_l3,
    smap_l4,
    soilgrids,
    solus,
    uscrn,
    uscrn_hourly,
    weather_forecast,
)
from vadose.products.containers import container_of
from vadose.products.product import Product
from vadose.products.strangers import described, relative

PRODUCTS: dict[str, Product] = {
    "conusv4f1": conusv4f1.PRODUCT,
    "smap_india": smap_india.PRODUCT,
    "nldas_noah": nldas.PRODUCT_NOAH,
    "nldas_forcing": nldas.PRODUCT_FORCING,
    "gldas_noah": gldas.PRODUCT,
    "imerg": imerg.PRODUCT,
    "gridmet": gridmet.PRODUCT,
    "weather_forecast": weather_forecast.PRODUCT,
    "smap_l2": smap_l2.PRODUCT,
    "smap_l3": smap_l3.PRODUCT,
    "smap_l4": smap_l4.PRODUCT,
    "uscrn": uscrn.PRODUCT,
    "uscrn_hourly": uscrn_hourly.PRODUCT,
    "scan": scan.PRODUCT,
    "ismn": ismn.PRODUCT,
    "mod09ga": mod09ga.PRODUCT,
    "mod09cmg": mod09cmg.PRODUCT,
    "mod11a1": mod11a1.PRODUCT,
    "mod15a2h": mod15a2h.PRODUCT,
    "mcd12q1": mcd12q1.PRODUCT,
    "landsat": landsat.PRODUCT,
    "hls": hls.PRODUCT,
    "sentinel1": sentinel1.PRODUCT,
    "smap_hydroblocks": smap_hydroblocks.PRODUCT,
    "3dep": dem.PRODUCT_3DEP,
    "srtm": dem.PRODUCT_SRTM,
    "glo30": dem.PRODUCT_GLO30,
    "solus100": solus.PRODUCT,
    "soilgrids": soilgrids.PRODUCT,
    "polaris": polaris.PRODUCT,
    "nlcd": nlcd.PRODUCT,
}
"""Of several that give a feature of stations the first counts."""


def identify(path: Path) -> str:
    """Name in `PRODUCTS` of what a file or folder holds, by its name as published, else by its content.

    Raises
    ------
    VadoseError
        When the file is missing, empty, a web page, damaged, or of no known product.
    """
    container = container_of(path)
    named = [name for name, product in PRODUCTS.items() if product.file_name.match(path.name)]
    for name in [*named, *(name for name in PRODUCTS if name not in named)]:
        if PRODUCTS[name].holds(path):
            return name
    if akin := relative(path.name):
        raise VadoseError(f"{path}: {akin}")
    said = described(path, container)
    if named:
        # The reader knows better what is wrong: another unit, another layer, scaled already.
        PRODUCTS[named[0]].read(path)
        raise VadoseError(
            f"{path}: named like {PRODUCTS[named[0]].title}, but its content is not that (a {container}"
            f"{said and '; '}{said}); is it another file renamed, or an incomplete download? Fetch it again"
        )
    raise VadoseError(
        f"{path}: a {container} of no known product{said and ' ('}{said}{said and ')'}; the products are "
        f"{', '.join(PRODUCTS)} (say which with --product if you know)"
    )
