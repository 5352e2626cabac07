"""SEG and RTSTRUCT files as objects to choose among: what they were drawn on, what they outline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from pydicom.dataset import Dataset

from boneviz.dicombytes import items, read_object, refusing, text, uid
from boneviz.dicomfiles import Series
from boneviz.dicomseg import SOP_CLASSES as SEG_CLASSES
from boneviz.dicomseg import segment_names
from boneviz.errors import BonevizError, InputError
from boneviz.importplan import LABELS
from boneviz.rtstruct import SOP_CLASSES as RT_CLASSES
from boneviz.rtstruct import roi_names

__all__ = ["LabelObject", "label_objects"]


@dataclass(frozen=True, slots=True, repr=False)
class LabelObject:
    """One SEG or RTSTRUCT: what it was drawn on and what it outlines; texts are a stranger's.

    Parameters
    ----------
    path : the file
    kind : ``SEG`` or ``RTSTRUCT``
    patient_id, description : PatientID and SeriesDescription, never to be written
    regions : number -> name of each segment or region
    frames, series : uids of the frames of reference and of the series that it names
    problem : why it cannot be read, empty where it can
    """

    path: Path
    kind: str
    patient_id: str
    description: str
    regions: Mapping[int, str] = field(default_factory=dict)
    frames: frozenset[str] = frozenset()
    series: frozenset[str] = frozenset()
    problem: str = ""

    def matching(self, pattern: str) -> tuple[int, ...]:
        """Return the regions that a text names: their own name, or ``DESCRIPTION/NAME``.

        The text may be a glob, and is compared letter by letter. That of the series alone stands
        for its only region; an empty one does for the only region of whatever file.

        Raises
        ------
        InputError
            The series is named, and has several regions.
        """
        series = self.description.strip()
        by_name = tuple(
            number
            for number, name in self.regions.items()
            if fnmatchcase(name.strip(), pattern)
            or fnmatchcase(f"{series}/{name.strip()}", pattern)
        )
        if by_name or (pattern and not fnmatchcase(series, pattern)):
            return by_name
        if len(self.regions) > 1:
            raise InputError(
                f"{self.path}: {len(self.regions)} regions, expected one; name those that are "
                "meant, such as --labels 'NAME=Lesion*' or 'NAME=FOLDER::Lesion*' (--show-text "
                "lists the names there are)"
            )
        return tuple(self.regions)


def label_objects(series: Iterable[Series]) -> tuple[LabelObject, ...]:
    """Read what the SEG and RTSTRUCT among these series outline, without voxels."""
    return tuple(
        _object(path, each) for each in series if each.modality in LABELS for path in each.paths
    )


def _object(path: Path, series: Series) -> LabelObject:
    kind = series.modality
    made = LabelObject(path, kind, "", series.description)
    try:
        with refusing(path, f"DICOM {kind}"):
            dataset = read_object(path, SEG_CLASSES if kind == "SEG" else RT_CLASSES)
            frames, named = _drawn_on_of(dataset)
            description = text(dataset, "SeriesDescription") or text(dataset, "StructureSetLabel")
            made = replace(
                made,
                # of this file: a series may hold files of several patients
                patient_id=text(dataset, "PatientID"),
                frames=frames,
                series=named,
                description=description,
            )
        names = segment_names(path) if kind == "SEG" else roi_names(path)
        return replace(made, regions={name.number: name.label for name in names})
    except BonevizError as error:
        return replace(made, problem=str(error))


def _drawn_on_of(dataset: Dataset) -> tuple[frozenset[str], frozenset[str]]:
    """Return the frames of reference and the series that an object names."""
    frames = {uid(dataset, "FrameOfReferenceUID")}
    series = {uid(one, "SeriesInstanceUID") for one in items(dataset, "ReferencedSeriesSequence")}
    for frame in items(dataset, "ReferencedFrameOfReferenceSequence"):
        frames.add(uid(frame, "FrameOfReferenceUID"))
        series |= {
            uid(one, "SeriesInstanceUID")
            for study in items(frame, "RTReferencedStudySequence")
            for one in items(study, "RTReferencedSeriesSequence")
        }
    for region in items(dataset, "StructureSetROISequence"):
        frames.add(uid(region, "ReferencedFrameOfReferenceUID"))
    return (
        frozenset(frame for frame in frames if frame),
        frozenset(one for one in series if one),
    )
