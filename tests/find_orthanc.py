"""Find Orthanc and its DICOMweb plugin for the tests; with --install, get them where they lack.

Debian's packages, as root; the service that they bring is kept from starting.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAM = Path("/usr/sbin/Orthanc")  # not in everybody's PATH
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
POLICY = Path("/usr/sbin/policy-rc.d")
PACKAGES = ("orthanc", "orthanc-dicomweb")


def find_orthanc() -> tuple[Path, Path] | None:
    """Return the paths of the program and of its DICOMweb plugin, or None where one lacks."""
    found = shutil.which("Orthanc")
    program = Path(found) if found else PROGRAM
    plugin = Path(os.environ.get("BONEVIZ_ORTHANC_DICOMWEB", PLUGIN))
    return (program, plugin) if program.is_file() and plugin.is_file() else None


def install_orthanc() -> None:
    """Install Debian's packages as root, without starting anything; raise where that fails."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise SystemExit(
            "no Orthanc with DICOMweb for the tests: as root, apt-get install "
            f"--no-install-recommends {' '.join(PACKAGES)}; elsewhere, put Orthanc into PATH and "
            "the path of its DICOMweb plugin into BONEVIZ_ORTHANC_DICOMWEB"
        )
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES],
        ):
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    finally:
        if ours:
            POLICY.unlink()
    if find_orthanc() is None:
        raise SystemExit(f"apt-get could not install {' and '.join(PACKAGES)}: see above")


if __name__ == "__main__":
    if find_orthanc() is None:
        if "--install" not in sys.argv:
            raise SystemExit("no Orthanc with DICOMweb; run with --install")
        install_orthanc()
    print(*find_orthanc() or ())
