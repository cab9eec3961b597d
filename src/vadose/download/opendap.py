"""What OPeNDAP is asked for a part of a granule, in the names by which the service knows its fields."""

import re
import xml.etree.ElementTree as ET
from functools import partial
from urllib.parse import quote

from vadose.download.client import Client
from vadose.download.cut import Cut
from vadose.errors import VadoseError
from vadose.products.mod09cmg import plain


def address(client: Client, cut: Cut, name: str) -> str:
    """The address of a part of a granule.

    Raises
    ------
    VadoseError
        When the service describes no such field.
    """
    unknown = [one for one in cut.fields if not one.startswith("/") and one not in cut.paths]
    if unknown:
        cut.paths.update(_described(client.persist(name, partial(_description, client, cut.url, name))))
    if missing := [one for one in unknown if one not in cut.paths]:
        raise VadoseError(f"{name}: its service has no {', '.join(missing)} (found: {', '.join(cut.paths)[:200]})")
    part = "".join(f"[{one.start}:1:{one.stop - 1}]" for one in (cut.place.rows, cut.place.columns))
    asked = ";".join(f"{cut.paths.get(one, one)}{part}" for one in cut.fields)
    return f"{cut.url}.dap.nc4?dap4.ce={quote(asked, safe='')}"


def _description(client: Client, url: str, name: str) -> bytes:
    with client.open(f"{url}.dmr.xml", name, "earthdata") as response:
        return response.content


def _described(text: bytes) -> dict[str, str]:
    """Last name, with underscores -> path, of the fields that a DMR describes.

    Examples
    --------
    >>> _described(b'<Dataset name="a"><Group name="G"><Int16 name="Band 7"/></Group></Dataset>')
    {'Band_7': '/G/Band 7'}
    """
    found: dict[str, str] = {}

    def walk(node: ET.Element, path: str) -> None:
        for child in node:
            kind, name = child.tag.rpartition("}")[2], child.get("name", "")
            if kind == "Group":
                walk(child, f"{path}/{name}")
            elif re.fullmatch(r"U?Int\d+|Float\d+|Byte|U?Byte|Char", kind):
                found[plain(name)] = f"{path}/{name}"

    try:
        walk(ET.fromstring(text), "")
    except ET.ParseError as error:
        raise VadoseError(f"the service describes its granule in no XML ({error})") from None
    return found
