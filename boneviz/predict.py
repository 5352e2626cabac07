"""From a checkpoint and a case to a held-out `Prediction` on the CT's own grid."""

from __future__ import annotations

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer

from boneviz.case import Case, Prediction
from boneviz.checkpoint import Checkpoint
from boneviz.fuse import fuse
from boneviz.harmonise import harmonise, resample
from boneviz.volume import Volume

__all__ = ["Predictor", "device_at_hand"]


def device_at_hand() -> torch.device:
    """Return the GPU where there is one, the CPU otherwise."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Predictor:
    """A model with its weights in memory, ready for one case after another.

    Parameters
    ----------
    checkpoint : the model
    overlap : share of a window that neighbours share, 0 <= overlap < 1
    """

    def __init__(self, checkpoint: Checkpoint, *, overlap: float = 0.5) -> None:
        self.checkpoint = checkpoint
        self._device = device_at_hand()
        self._network = checkpoint.network().to(self._device)
        self._windows = SlidingWindowInferer(
            roi_size=checkpoint.patch,
            sw_batch_size=2,
            overlap=overlap,
            mode="gaussian",
            padding_mode="constant",
        )

    def __call__(self, case: Case, *, cohort_id: str = "") -> Prediction:
        """Return the probability of infection in every voxel of the CT.

        Parameters
        ----------
        case : CT in HU and PET in SUVbw, on any grids that overlap; its masks are not looked at
        cohort_id : of the case's cohort, by which training patients are known again

        Raises
        ------
        GridError
            CT and PET do not overlap.
        """
        checkpoint = self.checkpoint
        images = Case(case.patient_id, case.session, case.ct, case.pet)
        there = harmonise(images, spacing_mm=checkpoint.spacing_mm)
        fused = torch.from_numpy(fuse(there, checkpoint.fuse))[None].to(self._device)  # 1,2,X,Y,Z
        with torch.inference_mode():
            logits = self._windows(fused, self._network)  # 1,1,X,Y,Z
            assert isinstance(logits, torch.Tensor)  # one network output, not several
            probability = torch.sigmoid(logits)[0, 0].float().cpu().numpy()
        # below one grey level of the stored file; exact zeros keep air and bone cheap to store
        probability = np.where(probability < 1 / 510, 0, probability).astype(np.float32)
        return Prediction(
            patient_id=case.patient_id,
            session=case.session,
            reader=checkpoint.reader,
            fold=checkpoint.fold,
            probability=resample(Volume(probability, there.ct.grid, "probability"), case.ct.grid),
            checkpoint_id=checkpoint.checkpoint_id,
            trained_on=checkpoint.seen_in(cohort_id),
            demonstration=checkpoint.demonstration,
        )
