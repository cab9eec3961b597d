"""Sentinel-1 C-band backscatter VV and VH as geocoded GeoTIFFs: Earth Engine, HyP3, OPERA, pyroSAR and alike.

Mission: Torres et al. (2012), doi:10.1016/j.rse.2011.05.028. Names known here, with what they tell:
``S1A_IW_GRDH_1SDV_START_STOP_ORBIT_TAKE_ID.tif`` (Earth Engine: bands ``VV``, ``VH``, ``angle``),
``S1A_IW_START_DVP_RTC30_G_gpuned_ID_VV.tif`` (HyP3: g gamma0 or s sigma0; p power, a amplitude or d dB),
``S1A__IW___A_START_VV_grd_mli_geo_norm_db.tif`` (pyroSAR: A or D the pass; linear without ``_db``),
``OPERA_L2_RTC-S1_T034-071092-IW3_START_PROCESSED_S1A_30_v1.0_VV.tif`` (OPERA: gamma0, power),
``S1A_IW_GRDH_1SDV_START_STOP_ORBIT_TAKE_rtc/measurement/iw-vv.rtc.tiff`` (Planetary Computer: gamma0, power),
``s1_rtc_02F5EA_N02E040_2020_12_27_VV.tif`` (Copernicus Data Space: gamma0, power).

Pitfalls: nothing in a GeoTIFF says by rule whether it holds dB or linear power, and Earth Engine names both
alike; means and ratios want linear power. Sigma0 and terrain-flattened gamma0 differ and keep their own
names; pyroSAR's old ``norm`` is gamma0. Border noise before 2018 and layover are not masked.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError, nothing_here
from vadose.products.containers import BBox, as_float, choose, container_of, simulated_mark
from vadose.products.dates import moment
from vadose.products.orbits import orbit_of
from vadose.products.product import AtStations, Product, Twin
from vadose.products.ranges import Counted, within
from vadose.products.rasters import open_raster, read_raster
from vadose.variables import describe

FILE_NAME = re.compile(
    r"(?=.*?(?P<platform>S1[A-D]))(?:S1[A-D]_+|OPERA_L2_RTC-S1_T\d{3}-\d{6}-)(?P<mode>IW|EW|SM|S[1-6]|WV)\d?_+"
    r"(?:(?P<pass>[AD])_)?.*?(?P<start>\d{8}T\d{6})(?:.*\.(?:tiff?|vrt|zip)|.*_v\d+\.\d+|[^.]*(?:\.SAFE)?)"
)
# Now, S1A_IW_START_DVP_RTC30_G_gpuned_ID, and up to 2020, S1A_IW_RT30_START_G_gpn.
_HYP3 = re.compile(
    r"(?:_RTC\d+_G_|_RT\d+_\d{8}T\d{6}_G_)(?P<radiometry>[gs])(?P<scale>[pad])(?:[uw][nf][ec][dm]_[0-9A-F]{4}|[nf])"
)
# All are gamma0 in linear power.
_RTC = {
    "Copernicus Data Space": re.compile(r"s1_rtc_[0-9A-F]{6}_[NS]\d{2}[EW]\d{3}_"),
    "OPERA": re.compile(r"OPERA_L2_RTC-S1_"),
    "Planetary Computer": re.compile(r"(?:^|-)[vh]{2}\.rtc\.tiff?$|_\d{8}T\d{6}_\d{6}_[0-9A-F]{6}_rtc"),
}
# A SAFE's own raster, s1a-iw-grd-vv-START-STOP-ORBIT-TAKE-001.tiff.
_MEASUREMENT = re.compile(r"s1[a-d]-\w{2,3}-(?:grd|slc)-[vh]{2}-\d{8}t\d{6}-.*\.tiff?", re.IGNORECASE)
# Files of one acquisition: HyP3 (now, and up to 2020), OPERA, pyroSAR, Copernicus Data Space.
SCENE = re.compile(
    r"(S1[A-D]_\w\w_\d{8}T\d{6}_\w{3}_RTC\d+_G_[gs][pad]\w{4}_[0-9A-F]{4}|S1[A-D]_\w\w_RT\d+_\d{8}T\d{6}_G_[gs][pad][nf]"
    r"|OPERA_L2_RTC-S1_.+_v\d+\.\d+|S1[A-D]__\w+?___[AD]_\d{8}T\d{6}"
    r"|s1_rtc_[0-9A-F]{6}_[NS]\d{2}[EW]\d{3}_\d{4}_\d\d_\d\d)_\w+\.tiff?"
)
_PYROSAR = re.compile(r"S1[A-D]__\w+?___[AD]_\d{8}T\d{6}_[VH]{2}_")
_TIME_TAGS = ("start_time", "acquisition_time", "acquisition_date", "date")
_MOMENT = re.compile(r"(?<!\d)(?P<day>\d{4}(?P<mark>[-_]?)\d{2}(?P=mark)\d{2})(?:T(?P<clock>\d{6}))?(?!\d)")
_LAUNCH = pd.Timestamp("2014-04-03")

_SCALES = {"db": "dB", "power": "linear power", "amplitude": "amplitude, the root of power"}
_SCALE_WORDS = {
    "db": "db",
    "decibel": "db",
    "decibels": "db",
    "power": "power",
    "linear": "power",
    "amplitude": "amplitude",
    "amp": "amplitude",
}
# Fill besides the declared one: 0 of linear files and masked exports, -99 and -9999 of dB files.
_FILLS = (0.0, -99.0, -9999.0)
# What backscatter can be: below lies no receiver's noise, above no target.
_RANGE = {"db": (-100.0, 40.0), "power": (0.0, 1e4), "amplitude": (0.0, 1e2)}


def read_sentinel1(
    path: Path,
    *,
    files: Sequence[Path] = (),
    bbox: BBox | None = None,
    scale: str = "auto",
    radiometry: str = "auto",
) -> xr.Dataset:
    """Read the backscatter of one Sentinel-1 scene as linear power.

    Parameters
    ----------
    path
        GeoTIFF with one or more bands, or a folder that holds a scene's files (VV, VH, HyP3's ``inc_map``).
    files
        All files of the scene, where ``path`` is one of several.
    bbox
        West, south, east, north [degree]; only this part is read.
    scale
        What the file holds: ``'db'``, ``'power'`` or ``'amplitude'``. ``'auto'`` takes it from the name, the
        band descriptions, units or tags, and where these are silent from values most of which are negative
        (dB).
    radiometry
        ``'sigma0'`` or ``'gamma0'``; ``'auto'`` takes it from the name, descriptions or tags, and sigma0 (as
        in Earth Engine's collection) where these are silent.

    Returns
    -------
    xarray.Dataset
        (time, y, x) or (time, lat, lon) ``sigma0_vv`` and ``sigma0_vh``, or ``gamma0_vv`` and ``gamma0_vh``
        [1, linear], and ``incidence_angle`` [degree], as far as the files hold them; ``orbit_ascending``, 1 of
        an ascending pass, 0 of a descending one, by the name or the local solar time; float32, NaN where missing;
        time is the start of the acquisition. Attributes say how scale and radiometry were found.

    Raises
    ------
    VadoseError
        When scale, band or time cannot be told, values contradict the scale, or the scene is a SAFE in radar
        geometry: without terrain correction its pixels lie off by up to some hundred metres.

    References
    ----------
    Torres et al. (2012), doi:10.1016/j.rse.2011.05.028; Small (2011), doi:10.1109/TGRS.2011.2120616 (gamma0).
    """
    choose(scale, ("auto", *_SCALES), "scale", path)
    choose(radiometry, ("auto", "sigma0", "gamma0"), "radiometry", path)
    files = _backscatter_first(file for file in files if _role([file.stem])) or _files(path)
    words, roles, simulated = _contents(files)
    if not set(roles) & {"vv", "vh"}:
        raise VadoseError(
            f"{path}: no band tells that it is VV or VH (other polarisations are not read); name it in the file's name "
            "(..._VV.tif) or in the band's description"
        )
    name = _telling(files[0])
    declared, scale_source = _scale(scale, name, words)
    quantity, quantity_source = _radiometry(radiometry, name, words)

    dataset, empty = xr.Dataset(), True
    for role, (file, band) in sorted(roles.items(), reverse=True):
        values, coordinates = _values(file, band, bbox, counts=scale != "auto")
        counted: dict[str, int] = {}
        if not dataset.coords:
            dataset = coordinates.expand_dims(time=[_time(files[0])])
        rows, columns = list(coordinates.sizes)
        if not all(np.array_equal(coordinates[d], dataset[d]) for d in (rows, columns) if d in dataset.dims):
            raise VadoseError(f"{file}: lies on another lattice than {roles['vv'][0].name}; is it the same scene?")
        if role == "angle":
            # HyP3 writes radians, Earth Engine degrees; no Sentinel-1 beam comes in below 2 degrees.
            values = np.degrees(values) if np.nanmax(values, initial=0) < np.pi / 2 else values
            dataset["incidence_angle"] = ("time", rows, columns), values[None]
            continue
        if np.isfinite(values).any():
            if not declared:
                declared, scale_source = _scale_of(values, file, "angle" in roles)
            values, counted = _linear(values, declared, file)
            empty = False
        dataset[f"{quantity}_{role}"] = ("time", rows, columns), values[None], counted
    if empty:
        raise nothing_here(bbox)(f"{path}: holds nothing but fill here; choose another scene, file or box")

    dataset.attrs |= {
        "product": f"Sentinel-1 {quantity}",
        "version": "unknown",
        "granule": path.name,
        "quality": "none: the product carries no quality flag; border noise, layover and shadow are not masked",
        "day_boundary": "instant of the overpass, about 06:00 or 18:00 local solar time; days are UTC",
        "simulated": simulated,
        "scale": f"{_SCALES[declared]}, by {scale_source}",
        "radiometry": f"{quantity}, by {quantity_source}",
        **orbit_of(FILE_NAME.fullmatch(name), name, pd.Timestamp(dataset.time.values[0]), files[0]),
    }
    if (seen := dataset.attrs["orbit_pass"]) != "unknown":
        backscatter = dataset[next(of for of in dataset.data_vars if of != "incidence_angle")]
        there = np.isfinite(backscatter.values)
        dataset["orbit_ascending"] = backscatter.dims, np.where(there, np.float32(seen == "ascending"), np.nan)
    return describe(dataset)


def is_sentinel1(path: Path) -> bool:
    """Whether a GeoTIFF or folder holds Sentinel-1 backscatter: by its name, or bands called VV or VH.

    A SAFE counts too, so that reading it tells what to do with it.
    """
    if _is_safe(path):
        return path.exists()
    try:
        files = _files(path)
        if FILE_NAME.fullmatch(files[0].name) or _MEASUREMENT.fullmatch(files[0].name):
            return True
        with open_raster(files[0]) as raster:
            texts = [text or "" for text in raster.descriptions]
            if re.search(r"(?<![a-z0-9])(?:s1[a-d]?|sentinel-?1)(?![0-9])|\.rtc\.", files[0].name.lower()):
                texts.append(files[0].stem)
            return raster.crs is not None and any(_role([text]) in ("vv", "vh") for text in texts)
    except VadoseError:
        return False


def _files(path: Path) -> list[Path]:
    """The GeoTIFFs of a scene that hold backscatter or incidence angle."""
    if _is_safe(path):
        raise VadoseError(
            f"{path}: a SAFE product in radar geometry, neither calibrated nor placed; terrain-correct it first (SNAP, "
            "pyroSAR or HyP3) and give the GeoTIFF"
        )
    container = container_of(path)
    if container == "zip":
        raise VadoseError(f"{path}: a zip archive; unpack it and give the folder or a GeoTIFF in it")
    if container != "folder":
        return [path]
    if (path / "measurement").is_dir():
        path = path / "measurement"
    found = [p for p in sorted(path.iterdir()) if p.suffix.lower() in (".tif", ".tiff") and _role([p.stem])]
    scenes = {(m["platform"], m["start"]) if (m := FILE_NAME.fullmatch(_telling(p))) else ("", p.stem) for p in found}
    if len(scenes) != 1:
        raise VadoseError(
            f"{path}: found {len(scenes)} Sentinel-1 scenes (GeoTIFFs with VV or VH in their name), expected one; give "
            "the folder of one scene, or one file"
        )
    return _backscatter_first(found)


def _backscatter_first(files: Iterable[Path]) -> list[Path]:
    """Files with those of backscatter first, which name the scene."""
    return sorted(files, key=lambda p: _role([p.stem]) == "angle")


def _telling(file: Path) -> str:
    """The name that tells the scene: the file's own, or else that of its folder, with the file's behind."""
    if not FILE_NAME.fullmatch(file.name):
        for folder in file.absolute().parents[:2]:
            if FILE_NAME.fullmatch(folder.name):
                return f"{folder.name}-{file.name}"
    return file.name


def _is_safe(path: Path) -> bool:
    return any(p.suffix.upper() == ".SAFE" for p in (path, *path.parents)) or (path / "manifest.safe").exists()


def _role(texts: Iterable[str]) -> str:
    """'vv', 'vh' or 'angle' as the first text tells that tells it; '' if none does."""
    for text in texts:
        words = re.split(r"[^a-z0-9]+", text.lower())
        if text.lower().endswith("inc_map") or any(w == "angle" or "incidenceangle" in w for w in words):
            return "angle"
        if found := [w for w in words if w in ("vv", "vh")]:
            return found[-1]
    return ""


def _contents(files: list[Path]) -> tuple[list[str], dict[str, tuple[Path, int]], str]:
    """What names, descriptions, units and tags say, in words; where each band is; the simulated mark."""
    texts, roles, simulated = [_telling(files[0])], {}, False
    for file in files:
        with open_raster(file) as raster:
            if raster.crs is None and raster.gcps[0]:
                raise VadoseError(
                    f"{file}: in radar geometry (ground control points, no projection); terrain-correct it first "
                    "(SNAP, pyroSAR or HyP3) and give the GeoTIFF"
                )
            simulated |= simulated_mark(raster.tags()) == "true"
            for band in range(1, raster.count + 1):
                description = raster.descriptions[band - 1] or ""
                role = _role([description, file.stem] if raster.count == 1 else [description])
                if role:
                    roles[role] = file, band
                if role != "angle":
                    tags = (raster.tags() | raster.tags(band)).items()
                    texts += [description, raster.units[band - 1] or ""]
                    texts += [
                        v for k, v in tags if k.lower() in ("scale", "units", "unit", "radiometry", "calibration")
                    ]
    words = [w for text in texts for w in re.split(r"[^a-z0-9]+", text.lower()) if w]
    return words, roles, "true" if simulated else "false"


def _scale(argument: str, name: str, words: list[str]) -> tuple[str, str]:
    if argument != "auto":
        return argument, "the argument"
    if found := _HYP3.search(name):
        return {"p": "power", "a": "amplitude", "d": "db"}[found["scale"]], "the name (HyP3)"
    for centre, pattern in _RTC.items():
        if pattern.search(name):
            return "power", f"the name ({centre})"
    said = {_SCALE_WORDS[w] for w in words if w in _SCALE_WORDS}
    if len(said) == 1:
        return said.pop(), "the name, description or tags"
    if len(said) > 1:
        raise VadoseError(f"{name}: name and tags contradict each other on the scale ({sorted(said)}); give scale=")
    if _PYROSAR.match(name):
        return "power", "the name (pyroSAR, without _db)"
    return "", ""


def _radiometry(argument: str, name: str, words: list[str]) -> tuple[str, str]:
    if argument != "auto":
        return argument, "the argument"
    if found := _HYP3.search(name):
        return {"g": "gamma0", "s": "sigma0"}[found["radiometry"]], "the name (HyP3)"
    for word in words:
        if word in ("sigma0", "gamma0"):
            return word, "the name, description or tags"
    if "rtc" in words:
        return "gamma0", "the name (rtc)"
    if _PYROSAR.match(name) and "norm" in words:
        return "gamma0", "the name (pyroSAR's norm: normalised by local area and converted to gamma0)"
    return "sigma0", "assumption: nothing says it, Earth Engine's collection is sigma0"


def _values(file: Path, band: int, bbox: BBox | None, *, counts: bool) -> tuple[NDArray[np.float32], xr.Dataset]:
    """A band as floats, NaN where it is fill; scale and offset that the container declares are applied."""
    with open_raster(file) as raster:
        factor, offset, kind = raster.scales[band - 1], raster.offsets[band - 1], raster.dtypes[band - 1]
    if np.dtype(kind).kind in "iu" and (factor, offset) == (1, 0) and not counts:
        raise VadoseError(
            f"{file}: holds {kind} numbers without a scale factor, as counts of a GRD that was not calibrated; "
            "calibrate it to sigma0 or gamma0, or give scale= if they are backscatter"
        )
    values, coordinates, nodata = read_raster(file, bbox, band)
    result = as_float(values.astype(np.float32), nodata, *_FILLS)
    result[~np.isfinite(result)] = np.nan
    return (result * np.float32(factor) + np.float32(offset)), coordinates


def _scale_of(values: NDArray[np.float32], file: Path, earth_engine: bool) -> tuple[str, str]:
    known = values[np.isfinite(values)]
    if (share := float(np.mean(known < 0))) > 0.5:
        return "db", f"the values, of which {share:.0%} are negative"
    if earth_engine and known.min() >= 0:
        # With a band of the angle both of Earth Engine's collections come, dB and power, but no amplitude.
        return "power", "the values, none of which is negative (Earth Engine has dB or power)"
    raise VadoseError(
        f"{file}: neither name nor tags say whether it holds dB or linear power, and the values do not tell (found "
        f"{known.min():.3g} .. {known.max():.3g}); give scale='db', 'power' or 'amplitude'"
    )


def _linear(values: NDArray[np.float32], scale: str, file: Path) -> Counted:
    """Linear power, and how many single values beyond the scale's range were set missing; many are refused."""
    least, most = float(np.nanmin(values)), float(np.nanmax(values))
    if scale == "db" and least > 0 and most < 1:
        raise VadoseError(
            f"{file}: values {least:.3g} .. {most:.3g} cannot be {_SCALES[scale]} of backscatter; another scale? Give "
            "scale= as it is"
        )
    values, counted = within(values, f"backscatter as {_SCALES[scale]}", file, _RANGE[scale])
    power = 10 ** (values / 10) if scale == "db" else values**2 if scale == "amplitude" else values
    return power.astype(np.float32), counted


def _time(file: Path) -> np.datetime64:
    """Start of the acquisition, or its day, from the name or else from a tag."""
    if found := _MOMENT.search(_telling(file)):
        text = "".join(found["day"].split(found["mark"])) if found["mark"] else found["day"]
        form, clock = ("%Y%m%dT%H%M%S", f"T{found['clock']}") if found["clock"] else ("%Y%m%d", "")
        return _since_launch(moment(text + clock, form, file, "the time in its name"), file)
    with open_raster(file) as raster:
        tags = {key.lower(): value for key, value in raster.tags().items()}
    for key in _TIME_TAGS:
        if text := tags.get(key, ""):
            return _since_launch(moment(text.rstrip("Z"), "ISO8601", file, f"its tag {key!r}"), file)
    raise VadoseError(
        f"{file}: no time in the name (YYYYMMDDTHHMMSS) nor in a tag {list(_TIME_TAGS)}; name the file as published"
    )


def _since_launch(time: pd.Timestamp, file: Path) -> np.datetime64:
    if time < _LAUNCH:
        raise VadoseError(f"{file}: taken {time}, before the first Sentinel-1 flew ({_LAUNCH:%Y-%m-%d})")
    return time.to_datetime64()


PRODUCT = Product(
    "Sentinel-1 backscatter, geocoded",
    "grid",
    "10.1016/j.rse.2011.05.028",
    read_sentinel1,
    is_sentinel1,
    FILE_NAME,
    "1 to 3 days",
    version=re.compile(r"_(?P<a>\d{8}T\d{6}Z)(?=_S1[A-D]_\d+_v)|_v(?P<b>\d+)\.(?P<c>\d+)"),
    scene=(SCENE,),
    sources=("sentinel1",),
    stations=AtStations(
        inputs=("sigma0_vv", "sigma0_vh", "gamma0_vv", "gamma0_vh"), reach=200, overpasses=True, one_kind=True
    ),
    twin=Twin("sentinel1.write_sentinel1", "county"),
)
