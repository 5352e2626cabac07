"""What an archive answers to a search (QIDO-RS), page by page and within bounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydicom.datadict import tag_for_keyword

from boneviz.connection import Archive, refusals
from boneviz.dicombytes import tag_of
from boneviz.errors import ArchiveError

__all__ = ["Item", "client_of", "count_of", "is_uid", "search", "value"]

PAGE = 500
#: of all answers to one search, as far as they are kept
MAX_KEPT_BYTES = 2**26
#: what is kept of an answer beside its UID
READ = (
    "PatientID",
    "AccessionNumber",
    "StudyDate",
    "StudyDescription",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
    "Modality",
    "NumberOfSeriesRelatedInstances",
)

Item = Mapping[str, Any]


def client_of(archive: Archive, session: Any) -> Any:
    """Return a `dicomweb_client.DICOMwebClient` that asks through a session of `connect`."""
    from dicomweb_client import DICOMwebClient

    client = DICOMwebClient(archive.url, session=session, timeout=archive.timeouts_s)
    # its second attempt to store sends what the first has used up: nothing
    client.set_http_retry_params(retry=False)
    return client


def search(
    page: Callable[..., Any], archive: Archive, doing: str, *, key: str, most: int
) -> dict[str, Item]:
    """Ask page by page until nothing new comes; return what is read of the answers by their UID.

    Parameters
    ----------
    page : takes `limit` and `offset`
    key : keyword of the UID that each answer has

    Raises
    ------
    ArchiveError
        Not a list of answers with that UID, more than `most`, or above 64 MiB in what is kept.
    """
    found: dict[str, Item] = {}
    offset, kept = 0, 0
    while True:
        with refusals(archive, doing):
            items = page(limit=PAGE, offset=offset)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ArchiveError(
                f"{archive.url}: {doing}: its answer is no list of data sets; expected that of a "
                "DICOMweb service, look at what runs at that address"
            )
        before = len(found)
        for item in items:
            uid = "".join(value(item, key)[:1])
            if not is_uid(uid):
                raise ArchiveError(
                    f"{archive.url}: {doing}: an answer whose {tag_of(key)} is missing or no UID; "
                    "look at the archive's log"
                )
            if uid in found:
                continue
            found[uid] = {
                _tag(name): {"Value": there} for name in READ if (there := value(item, name))
            }
            kept += sum(len(text) + 64 for each in found[uid].values() for text in each["Value"])
            if kept > MAX_KEPT_BYTES:
                raise ArchiveError(
                    f"{archive.url}: {doing}: {len(found)} answers hold more than {MAX_KEPT_BYTES} "
                    "bytes; narrow it, by dates for example, or look at what runs at that address"
                )
        if len(found) > most:
            raise ArchiveError(
                f"{archive.url}: {doing}: more than {most}; narrow it, by dates for example"
            )
        if len(found) == before:
            return found
        offset += len(items)


def value(item: Item, keyword: str) -> tuple[str, ...]:
    """Return the values of an attribute in DICOM JSON (PS3.18, F.2) as texts, none where absent."""
    element = item.get(_tag(keyword))
    values = element.get("Value") if isinstance(element, dict) else None
    if not isinstance(values, list | tuple):
        return ()
    return tuple(str(each) for each in values if isinstance(each, str | int | float))


def _tag(keyword: str) -> str:
    return f"{tag_for_keyword(keyword):08X}"


def count_of(item: Item, keyword: str) -> int | None:
    """Return a number, None where absent or none."""
    try:
        return int(value(item, keyword)[0])
    except (IndexError, ValueError):
        return None


def is_uid(text: str) -> bool:
    """Whether a text is a UID, which may become the name of a file."""
    return len(text) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)+", text) is not None
