"""What a file of no known product says of itself, so that it can be named where it is refused."""

import re
from itertools import islice
from pathlib import Path

import h5py

from vadose.errors import VadoseError
from vadose.products.containers import open_hdf4, open_hdf5, open_netcdf
from vadose.products.grib import messages
from vadose.products.polaris import DEPTHS, PROPERTIES

_NAMES = ("shortName", "SMAPShortName", "ShortName", "short_name", "SHORTNAME", "DOIshortName", "title", "Title")
_SHOWN = 5
# Names of relatives of what is read, and what they are.
_RELATIVES = (
    (r"HLS\.[LS]30\.T\w{5}\.\d{7}\.v1\.\d.*", "HLS v1 in HDF4, which was withdrawn; take v2.0 (GeoTIFFs)"),
    (
        r"L[COTEM]0[1-9]_L1\w\w_.*",
        "Landsat Level 1, at the top of the atmosphere; take the Level 2 scene (L2SP or L2SR)",
    ),
    (r"L[COTEM]0[1-9]_L2\w\w_\d{6}_\d{8}_\d{8}_01_.*|L[COTEM]\d{14}\w{5}.*", "Landsat Collection 1; take Collection 2"),
    (r"Annual_NLCD_(?!LndCov).+|nlcd_.*(impervious|canopy).*", "another layer of NLCD than land cover; take LndCov"),
    (r"SPL\w+\.\d{3}_.*_doy\d{7}_aid\d+.*", "a layer that AppEEARS cut out of SMAP; take the granule (HDF5) instead"),
    (
        rf"(?:{'|'.join(PROPERTIES)})_(?:{'|'.join(DEPTHS)})(?:cm)?\.tif",
        "POLARIS on Earth Engine: its name tells no statistic; name it as clay_mean_0_5.tif",
    ),
)


def relative(name: str) -> str:
    """What a file is that its name tells to be akin to a product that is read, and what to take instead; else ''.

    Examples
    --------
    >>> relative("Annual_NLCD_FctImp_2019_CU_C1V1.tif")
    'another layer of NLCD than land cover; take LndCov'
    """
    return next((text for pattern, text in _RELATIVES if re.fullmatch(pattern, name, re.IGNORECASE)), "")


def described(path: Path, container: str) -> str:
    """Name a file bears inside and what it holds, such as ``it calls itself 'SPL3FTP', holds ...``; '' if neither.

    Parameters
    ----------
    path
        File that no product takes.
    container
        As `vadose.products.containers.container_of` tells.
    """
    tell = {"hdf5": _hdf5, "hdf4": _hdf4, "netcdf3": _netcdf3, "grib": _grib}.get(container)
    try:
        name, held = tell(path) if tell else ("", [])
    except VadoseError:
        return ""
    shown = ", ".join(held[:_SHOWN]) + (" ..." if len(held) > _SHOWN else "")
    return ", ".join([f"it calls itself '{name}'"] * bool(name) + [f"holds {shown}"] * bool(held))


def _hdf5(path: Path) -> tuple[str, list[str]]:
    with open_hdf5(path) as file:
        places = [f"{key}/DatasetIdentification" for key in ("Metadata", "METADATA")]
        named = [_named(file[place].attrs) for place in (*places, "/") if place in file]
        axes = {key for key in file if isinstance(file[key], h5py.Dataset) and file[key].is_scale}
        held = [key for key in file if key.lower() != "metadata" and key not in axes]
    return next((name for name in named if name), ""), held


def _hdf4(path: Path) -> tuple[str, list[str]]:
    with open_hdf4(path) as file:
        core = str(file.attributes().get("CoreMetadata.0", ""))
        named = re.search(r'OBJECT\s*=\s*SHORTNAME\s.*?VALUE\s*=\s*"?(\w+)', core, re.S)
        return named[1] if named else "", list(file.datasets())


def _netcdf3(path: Path) -> tuple[str, list[str]]:
    with open_netcdf(path) as file:
        return _named(file.attrs), list(map(str, file.data_vars))


def _grib(path: Path) -> tuple[str, list[str]]:
    found = (keys_of for keys_of, _ in messages(path, lambda _: True))
    held = (f"{k['shortName']} at {k['typeOfLevel']} {k['level']} of {k['centre']}" for k in islice(found, 50))
    return "", list(dict.fromkeys(held))


def _named(attributes: h5py.AttributeManager | dict[str, object]) -> str:
    for key in _NAMES:
        if key in attributes:
            value: object = attributes[key]
            value = value.item() if hasattr(value, "item") and getattr(value, "size", 0) == 1 else value
            text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
            if text := " ".join(text.split())[:80]:
                return text
    return ""
