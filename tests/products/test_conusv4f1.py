"""The database reader against small databases written here, and the real one where it is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vadose.errors import VadoseError
from vadose.grid import ease_grid
from vadose.products.conusv4f1 import CONSTANTS, FORCING, read_conusv4f1

VALUES = {
    "APCP_FORA": 0.5,
    "TMP_2_FORA": 290.0,
    "SPFH_2_FORA": 0.01,
    "DSWRF_FORA": 200.0,
    "DLWRF_FORA": 300.0,
    "UGRD_10_FORA": 1.0,
    "VGRD_10_FORA": -2.0,
    "SMAP_AM": 0.25,
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Two years at five cells of a 2 x 3 lattice of every fourth cell."""
    root = tmp_path / "db" / "CONUSv4f1"
    (root / "const").mkdir(parents=True)
    row, column = np.array([60, 60, 60, 64, 64]), np.array([200, 204, 208, 200, 208])
    lat, lon = ease_grid("36km").latlon(row, column)
    np.savetxt(root / "crd.csv", np.column_stack([lat, lon]), fmt="%.4f", delimiter=",")
    for name in CONSTANTS:
        value = {"Clay": 20.0, "Sand": 50.0, "Silt": 30.0}.get(name, 0.5)
        np.savetxt(root / "const" / f"{name}.csv", np.full((5, 1), value), fmt="%g")
    for year in (2015, 2016):
        days = pd.date_range(f"{year}-04-01", f"{year + 1}-03-31")
        folder = root / str(year)
        folder.mkdir()
        (folder / "timeStr.csv").write_text("\n".join(days.strftime("%Y-%m-%d")) + "\n")
        for name in (*FORCING, "SMAP_AM"):
            table = np.full((5, len(days)), VALUES[name])
            table[1, 3] = -9999
            np.savetxt(folder / f"{name}.csv", table, fmt="%g", delimiter=",")
    return tmp_path / "db"


def test_values_are_in_our_units_and_place(database: Path) -> None:
    dataset = read_conusv4f1(database)
    assert dict(dataset.sizes) == {"time": 366 + 365, "y": 2, "x": 3}
    assert dataset.mask.values.tolist() == [[True, True, True], [True, False, True]]
    first = dataset.isel(time=0, y=0, x=0)
    assert float(first.precipitation) == pytest.approx(12.0)
    assert float(first.clay_fraction) == pytest.approx(0.2)
    assert float(first.soil_moisture) == pytest.approx(0.25)
    assert dataset.attrs["grid_step"] == pytest.approx(4 * dataset.attrs["cell_size"])


def test_fill_is_nan_and_cells_off_the_list_are_empty(database: Path) -> None:
    dataset = read_conusv4f1(database)
    missing = np.isnan(dataset.soil_moisture).sum("time").values
    assert missing.tolist() == [[0, 2, 0], [0, 731, 0]]
    assert not (dataset.precipitation == -9999 * 24).any()


def test_a_year_without_moisture_is_unobserved(database: Path) -> None:
    (database / "CONUSv4f1/2016/SMAP_AM.csv").unlink()
    dataset = read_conusv4f1(database)
    assert dataset.attrs["years_with_soil_moisture"] == "2015"
    assert np.isnan(dataset.soil_moisture.sel(time=slice("2016-04-01", None))).all()


def test_a_marker_makes_it_simulated(database: Path) -> None:
    assert read_conusv4f1(database).attrs["simulated"] == "false"
    (database / "SIMULATED.txt").write_text("simulated")
    assert read_conusv4f1(database).attrs["simulated"] == "true"


def _truncate(path: Path) -> None:
    text = path.read_text()
    path.write_text(text[: int(len(text) * 0.5)])


def _drop_row(path: Path) -> None:
    path.write_text("\n".join(path.read_text().split("\n")[:-2]) + "\n")


def _scale(path: Path) -> None:
    path.write_text(path.read_text().replace("0.25", "25"))


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("2015/APCP_FORA.csv", _truncate, "cut short or damaged"),
        ("2015/APCP_FORA.csv", _drop_row, "found 4 rows x 366 columns, expected 5 rows"),
        ("2016/SMAP_AM.csv", _scale, "lie outside 0 .. 1 m3 m-3"),
        ("2016/TMP_2_FORA.csv", Path.unlink, "no such file"),
        ("2016/TMP_2_FORA.csv", lambda p: p.write_text("a,b\n"), "cut short or damaged"),
        ("2016/TMP_2_FORA.csv", lambda p: p.write_text(p.read_text().replace("290", "nan")), "not numbers"),
        ("2016/timeStr.csv", _drop_row, "found 364 days"),
        ("2016/timeStr.csv", lambda p: p.write_text("yesterday\n"), "YYYY-MM-DD"),
        ("2016/timeStr.csv", Path.unlink, "dates the columns"),
        ("const/Clay.csv", _drop_row, "expected 5 rows"),
        ("crd.csv", lambda p: p.write_text(p.read_text() + p.read_text()), "in one 36 km cell"),
        ("crd.csv", lambda p: p.write_text("89.9,0\n"), "outside the globe"),
    ],
)
def test_damage_is_named_with_its_file(
    database: Path, file: str, damage: Callable[[Path], object], message: str
) -> None:
    damage(database / "CONUSv4f1" / file)
    with pytest.raises(VadoseError, match=message) as error:
        read_conusv4f1(database)
    assert file.split("/")[-1] in str(error.value)


def test_missing_folders_are_named(database: Path, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="no folder 'CONUSv4f1'"):
        read_conusv4f1(tmp_path)
    (database / "CONUSv4f1/2016").rename(database / "CONUSv4f1/2017")
    with pytest.raises(VadoseError, match=r"no folder for \[2016\]"):
        read_conusv4f1(database)


def test_without_any_moisture_there_is_nothing_to_learn(database: Path) -> None:
    for year in (2015, 2016):
        (database / f"CONUSv4f1/{year}/SMAP_AM.csv").unlink()
    with pytest.raises(VadoseError, match="no year holds SMAP_AM"):
        read_conusv4f1(database)


def test_the_real_database(real_data: Path) -> None:
    dataset = read_conusv4f1(real_data / "conusv4f1")
    assert (dataset.sizes["y"], dataset.sizes["x"], int(dataset.mask.sum())) == (18, 38, 412)
    assert str(dataset.time.values[0])[:10] == "2015-04-01"
    observed = np.isfinite(dataset.soil_moisture.sel(time=slice("2015-04-01", "2016-03-31")))
    assert float(observed.sum() / (412 * 366)) == pytest.approx(0.42, abs=0.005)
    assert float(dataset.soil_moisture.max()) < 0.51
    annual = dataset.precipitation.sum("time").where(dataset.mask).mean() / 3
    assert 500 < float(annual) < 1100
