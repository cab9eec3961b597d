"""Make src/vadose/areas/us_counties.json.gz, once: outlines of US counties and states.

    npm pack us-atlas@3.0.1 && tar xzf us-atlas-3.0.1.tgz
    python benchmarks/us_counties.py package/counties-10m.json

The input (ISC licence, Copyright 2013-2019 Michael Bostock) redistributes the cartographic boundary files of the U.S.
Census Bureau (public domain), 2017 edition, as TopoJSON. Arcs and their lattice stay as they are; the outline of the
nation goes, and states gain their postal codes.
"""

import gzip
import json
import re
import sys
from pathlib import Path

POSTAL = dict(
    re.findall(
        r"(\d\d)([A-Z]{2})",
        "01AL 02AK 04AZ 05AR 06CA 08CO 09CT 10DE 11DC 12FL 13GA 15HI 16ID 17IL 18IN 19IA 20KS 21KY 22LA 23ME 24MD 25MA "
        "26MI 27MN 28MS 29MO 30MT 31NE 32NV 33NH 34NJ 35NM 36NY 37NC 38ND 39OH 40OK 41OR 42PA 44RI 45SC 46SD 47TN 48TX "
        "49UT 50VT 51VA 53WA 54WV 55WI 56WY 60AS 66GU 69MP 72PR 78VI",
    )
)
OUT = Path(__file__).resolve().parents[1] / "src/vadose/areas/us_counties.json.gz"

if __name__ == "__main__":
    told = json.loads(Path(sys.argv[1]).read_text())
    del told["objects"]["nation"]
    for objects in told["objects"].values():
        objects["geometries"].sort(key=lambda area: area["id"])
    for state in told["objects"]["states"]["geometries"]:
        state["properties"]["postal"] = POSTAL[state["id"]]
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False)
    OUT.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{OUT}: {OUT.stat().st_size / 1e3:.0f} kB")
